/* node/auth/none.c: keeps the library from being empty when no method is listed. */
extern int auth_none;
int auth_none;
