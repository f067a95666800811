/* Threads that share the loops of a call. They start and end with it, so nothing of them is left in the process.
 *
 * A share of a loop is computed as it is alone: results do not depend on the number of threads.
 */
typedef void work_of_share(const void *task, int64_t share, int64_t n_shares);

#if defined(__unix__) || defined(__APPLE__)
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MOST_HELPERS 31
#define ROUNDS_OF_WAITING 100 /* before a helper sleeps: to wake it takes longer than most waits */

typedef struct Team Team;

typedef struct {
    Team *team;
    int64_t share;
    pthread_t thread;
} Helper;

struct Team {
    int64_t n_shares; /* one for each helper, and the first for who hands out the tasks */
    pthread_mutex_t mutex;
    pthread_cond_t new_task;
    atomic_long n_tasks, n_left; /* tasks until now, and shares of this one that helpers have not done yet */
    work_of_share *work;         /* of this task, or NULL to end */
    const void *task;
    fenv_t environment; /* of who starts the helpers: it says what becomes of denormal numbers */
    Helper helpers[MOST_HELPERS];
};

static void await_task(Team *team, long number) {
    for (int i = 0; i < ROUNDS_OF_WAITING && atomic_load(&team->n_tasks) < number; i++)
        sched_yield();
    pthread_mutex_lock(&team->mutex);
    while (atomic_load(&team->n_tasks) < number)
        pthread_cond_wait(&team->new_task, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
}

static void *help(void *given) {
    Helper *helper = given;
    Team *team = helper->team;
    fesetenv(&team->environment);
    for (long number = 1;; number++) {
        await_task(team, number);
        if (!team->work)
            return NULL;
        team->work(team->task, helper->share, team->n_shares);
        atomic_fetch_sub(&team->n_left, 1);
    }
}

static void hand_out(Team *team, work_of_share *work, const void *task) {
    pthread_mutex_lock(&team->mutex);
    team->work = work;
    team->task = task;
    atomic_store(&team->n_left, team->n_shares - 1);
    atomic_fetch_add(&team->n_tasks, 1);
    pthread_cond_broadcast(&team->new_task);
    pthread_mutex_unlock(&team->mutex);
}

/* Do all shares of a task, and return when they are done. */
static void share_out(Team *team, work_of_share *work, const void *task) {
    if (team->n_shares > 1)
        hand_out(team, work, task);
    work(task, 0, team->n_shares);
    while (team->n_shares > 1 && atomic_load(&team->n_left))
        sched_yield();
}

/* Start helpers up to that many threads, or as many as there can be. */
static void start_team(Team *team, int64_t n_threads) {
    *team = (Team){.n_shares = 1};
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->new_task, NULL);
    fegetenv(&team->environment);
    for (int64_t i = 0; i < MOST_HELPERS && i + 1 < n_threads; i++) {
        Helper *helper = team->helpers + i;
        *helper = (Helper){.team = team, .share = i + 1};
        if (pthread_create(&helper->thread, NULL, help, helper))
            break;
        team->n_shares++;
    }
}

static void end_team(Team *team) {
    hand_out(team, NULL, NULL);
    for (int64_t i = 0; i + 1 < team->n_shares; i++)
        pthread_join(team->helpers[i].thread, NULL);
    pthread_mutex_destroy(&team->mutex);
    pthread_cond_destroy(&team->new_task);
}

#else

typedef struct {
    int64_t n_shares;
} Team;

static void share_out(Team *team, work_of_share *work, const void *task) { work(task, 0, team->n_shares); }
static void start_team(Team *team, int64_t n_threads) { team->n_shares = 1; }
static void end_team(Team *team) {}

#endif

/* Return where a share of n begins; the next share begins where it ends. */
static inline int64_t start_of(int64_t share, int64_t n_shares, int64_t n) { return n * share / n_shares; }
