/* The commands: a row of commands[] each, one file in launch/commands/. */
#ifndef LAUNCH_COMMANDS_COMMANDS_H
#define LAUNCH_COMMANDS_COMMANDS_H

#include <stdio.h>

struct command {
    const char *name;
    const char *usage;                          /* the words after "rankwise name" */
    const char *summary;                        /* one line */
    int (*run)(int argc, char **argv);          /* argv without "rankwise name"; returns a status */
    void (*help)(FILE *out);                    /* options and keys; may be NULL */
};
extern const struct command commands[];         /* ends with name NULL */

int command_train(int argc, char **argv);
int command_run(int argc, char **argv);
int command_submit(int argc, char **argv);
int command_eval(int argc, char **argv);
int command_plan(int argc, char **argv);
int command_generate(int argc, char **argv);
int command_score(int argc, char **argv);
int command_label(int argc, char **argv);
int command_tokenize(int argc, char **argv);
int command_export(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_diff(int argc, char **argv);
int command_trace(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_doctor(int argc, char **argv);

void help_train(FILE *out);
void help_run(FILE *out);
void help_submit(FILE *out);
void help_eval(FILE *out);
void help_plan(FILE *out);
void help_generate(FILE *out);
void help_score(FILE *out);
void help_label(FILE *out);
void help_tokenize(FILE *out);
void help_export(FILE *out);
void help_trace(FILE *out);
void help_bench(FILE *out);
void help_doctor(FILE *out);

#define RANKWISE_VERSION "0.1.0"

#endif
