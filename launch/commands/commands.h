/* The functions behind commands[]; each is in the file of its name. */
#ifndef LAUNCH_COMMANDS_COMMANDS_H
#define LAUNCH_COMMANDS_COMMANDS_H

#include "launch/commands.h"

int command_train(int argc, char **argv);
int command_plan(int argc, char **argv);
int command_generate(int argc, char **argv);
int command_score(int argc, char **argv);
int command_tokenize(int argc, char **argv);
int command_export(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_diff(int argc, char **argv);
int command_bench(int argc, char **argv);

void help_train(FILE *out);
void help_plan(FILE *out);
void help_generate(FILE *out);
void help_score(FILE *out);
void help_tokenize(FILE *out);
void help_export(FILE *out);
void help_bench(FILE *out);

#endif
