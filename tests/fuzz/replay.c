/* The main function of a target without libFuzzer: every file named, or of a folder named, once.
 *   build/tests/fuzz/json tests/fuzz/seeds/json tests/fuzz/found/json */
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "tests/fuzz/fuzz.h"

static int replay(const char *path)
{
    struct text text = { 0 };
    int rc = file_read(path, &text);

    if (rc == RL_OK)
        LLVMFuzzerTestOneInput((const uint8_t *)text.data, text.size);
    else
        status_print();
    text_free(&text);
    return rc == RL_OK ? 1 : 0;
}

static int replay_folder(const char *folder)
{
    DIR *list = opendir(folder);
    struct dirent *entry;
    char path[4096];
    int n = 0;

    while (list && (entry = readdir(list)))
        if (entry->d_name[0] != '.' &&
            path_join(path, sizeof path, folder, entry->d_name) == RL_OK)
            n += replay(path);
    if (list)
        closedir(list);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;

    for (int i = 1; i < argc; i++)
        n += folder_exists(argv[i]) ? replay_folder(argv[i]) : replay(argv[i]);
    printf("%d inputs\n", n);
    return n > 0 ? 0 : 1;
}
