/* node/core/mutant.h: deliberate mistakes in the pure parts that decide over requests, for the builds that the
 * simulator (tests/sim, req_sim_mutants) and the comparison with the model of policies
 * (tests/unit/node/core/test_acl_mutants.c) have to find them in. Everywhere else they are not there. */
#ifndef COFFER_CORE_MUTANT_H
#define COFFER_CORE_MUTANT_H

#ifdef REQ_MUTATIONS
enum req_mutant {
    REQ_MUTANT_NONE,
    REQ_MUTANT_READS_UNCHECKED,   /* the window looks at ranges alone */
    REQ_MUTANT_RANGES_UNCHECKED,  /* the window looks at keys alone */
    REQ_MUTANT_FORGETS_SILENTLY,  /* what the window forgets does not count as touched */
    REQ_MUTANT_NEW_LEADER_KNOWS,  /* nor does what a leader before has appended */
    REQ_MUTANT_NO_TICKETS,        /* nobody waits for an older one */
    REQ_MUTANT_TICKETS_OF_WRITES, /* a ticket holds what its request writes, not what it reads */
    REQ_MUTANT_DROPPED_RUNS,      /* records that were dropped count as never written */
    REQ_MUTANT_RETRY_REGROUPED,   /* a later try may take a new group */
    REQ_MUTANT_TRIES_UNCOUNTED,   /* a try that may have run is none */
    REQ_MUTANT_MINORITY_CLOCK,    /* time follows whoever was heard */
    REQ_MUTANT_STALE_TICKETS,     /* a ticket of an earlier leadership still counts */
    REQ_MUTANT_FIRST_AT_ONCE,     /* the first stamp waits for nobody */
};
extern enum req_mutant req_mutation;
#define REQ_MUTANT(x) (req_mutation == REQ_MUTANT_##x)
#else
#define REQ_MUTANT(x) false
#endif

#ifdef ACL_MUTATIONS
/* Name, and what goes wrong. */
#define ACL_MUTANT_LIST(X)                                                                         \
    X(PLUS_EMPTY, "a '+' stands for an empty segment, too")                                        \
    X(PLUS_MANY, "a '+' stands for several segments")                                              \
    X(PLUS_ANYWHERE, "each '+' is a wildcard")                                                     \
    X(EXACT_LAST, "wildcards are asked before exact rules")                                        \
    X(LIST_NEEDS_SLASH, "a list wants the closing slash in an exact rule")                         \
    X(READ_DROPS_SLASH, "an exact rule is tried without its slash for all operations")             \
    X(HEADS_ALONE, "of the heads only the longest is asked")                                       \
    X(STAR_FIRST, "a closing star wins over none")                                                 \
    X(PLUSES_FIRST, "more '+' win over fewer")                                                     \
    X(SHORT_FIRST, "the shorter rule wins")                                                        \
    X(LOW_FIRST, "the bytewise smaller rule wins")                                                 \
    X(DENY_UNITES, "a deny is forgotten when rules are united")                                    \
    X(DENY_PASSES, "a deny beside other capabilities is none")                                     \
    X(FIRST_RULE_ALONE, "of the rules of one path the first one counts")                           \
    X(SUDO_UNASKED, "sudo is not asked for")                                                       \
    X(WRAP_UNASKED, "who asks for no wrapping passes its bounds")                                  \
    X(WRAP_LARGER, "of two bounds the larger is kept")                                             \
    X(ANY_SWALLOWED, "a list of values wins over the empty list")                                  \
    X(REQUIRED_ONCE, "required parameters of the second rule are forgotten")                       \
    X(REQUIRED_UNASKED, "required parameters are not asked for")                                   \
    X(DENIED_ITEMS_PASS, "a denied value passes within a list")                                    \
    X(DENIED_STAR_PASSES, "the denied parameter \"*\" is a name like others")                      \
    X(ALLOWED_STAR_FALLS, "the allowed parameter \"*\" is a name like others")                     \
    X(NAMES_HAVE_CASE, "names of parameters compare with their case")                              \
    X(NUMBERS_ARE_TYPED, "a number is never the text of it")                                       \
    X(GLOB_END_ALONE, "a star at the beginning is an ordinary character")                          \
    X(PATCH_UNCHECKED, "parameters of a patch are not looked at")                                  \
    X(CREATE_IS_UPDATE, "who may update may create")                                               \
    X(SCAN_IS_LIST, "who may list may scan")                                                       \
    X(VALUES_BRING_STARS, "values of templates may be wildcards")                                  \
    X(VALUES_MAKE_PLUS, "values of templates may make wildcards")                                  \
    X(EMPTY_VALUES, "a template without a value is filled with nothing")                           \
    X(NAMES_TWICE, "a name that a rule has twice counts once")
#define ACL_MUTANT_ID(name, text) ACL_MUTANT_##name,
enum acl_mutant { ACL_MUTANT_NONE, ACL_MUTANT_LIST(ACL_MUTANT_ID) ACL_MUTANT_COUNT };
extern enum acl_mutant acl_mutation;
#define ACL_MUTANT(x) (acl_mutation == ACL_MUTANT_##x)
#else
#define ACL_MUTANT(x) false
#endif

#endif
