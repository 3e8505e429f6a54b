/* node/engines/none.c: keeps the library from being empty when no engine is listed. */
extern int engines_none;
int engines_none;
