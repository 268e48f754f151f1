/* config.json of a model, and the size that follows. */
#include "base/json.h"
#include "model/model.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *config = json_try((const char *)data, size);
    struct model_shape shape;
    int rc = model_shape_read(&shape, config, "config.json");

    fuzz_said(rc);
    if (rc == RL_OK)
        fuzz_holds(model_size(&shape) > 0 && model_size(&shape) < SIZE_MAX / 16, "no size");
    json_free(config);
    return 0;
}
