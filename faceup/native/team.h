/* Threads that work on one thing and wait for each other.

   Who waits looks a while and then sleeps, so that a team does not keep a core from other processes. */

#ifndef FACEUP_TEAM_H
#define FACEUP_TEAM_H

#include <pthread.h>
#include <stdatomic.h>

enum { MOST_THREADS = 64, LOOKS = 4000 };

typedef struct {
    int count;
    atomic_int arrived, round;
    pthread_mutex_t lock;
    pthread_cond_t next_round;
} Team;

typedef struct {
    Team *team;
    int rank;
    void (*work)(Team *team, int rank, void *argument);
    void *argument;
} Member;

/* Wait until all members have come here. */
static inline void meet(Team *team)
{
    if (team->count == 1)
        return;
    int round = atomic_load(&team->round);
    if (atomic_fetch_add(&team->arrived, 1) + 1 == team->count) {
        pthread_mutex_lock(&team->lock);
        atomic_store(&team->arrived, 0);
        atomic_store(&team->round, round + 1);
        pthread_cond_broadcast(&team->next_round);
        pthread_mutex_unlock(&team->lock);
        return;
    }
    for (int look = 0; look < LOOKS; look++) {
        if (atomic_load_explicit(&team->round, memory_order_acquire) != round)
            return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    pthread_mutex_lock(&team->lock);
    while (atomic_load(&team->round) == round)
        pthread_cond_wait(&team->next_round, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *argument)
{
    Member *member = argument;
    /* Held until it is known how many there are. */
    pthread_mutex_lock(&member->team->lock);
    pthread_mutex_unlock(&member->team->lock);
    member->work(member->team, member->rank, member->argument);
    return NULL;
}

/* How many threads are had who wants so many. */
static inline int threads_of(int wanted) { return wanted < 1 ? 1 : wanted < MOST_THREADS ? wanted : MOST_THREADS; }

/* Run `work` in the calling thread and in others, `wanted` in all, or in as many as the system allows. */
static void run_team(int wanted, void (*work)(Team *team, int rank, void *argument), void *argument)
{
    Team team = {.count = 1, .lock = PTHREAD_MUTEX_INITIALIZER, .next_round = PTHREAD_COND_INITIALIZER};
    Member members[MOST_THREADS];
    pthread_t threads[MOST_THREADS];
    pthread_mutex_lock(&team.lock);
    for (; team.count < threads_of(wanted); team.count++) {
        members[team.count] = (Member){&team, team.count, work, argument};
        if (pthread_create(&threads[team.count], NULL, member_main, &members[team.count]))
            break;
    }
    pthread_mutex_unlock(&team.lock);
    work(&team, 0, argument);
    for (int i = 1; i < team.count; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&team.next_round);
    pthread_mutex_destroy(&team.lock);
}

#endif
