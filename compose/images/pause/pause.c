/* Holds a pod's namespaces: sleeps until it is told to end, and reaps orphans when it is process 1 of a shared
 * pid namespace. Static and without a shell, so that a sandbox starts as fast as the engine allows.
 */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGTERM);
    sigaddset(&awaited, SIGINT);
    sigaddset(&awaited, SIGCHLD);
    /* Blocked from the start, so that none is lost between two waits. */
    sigprocmask(SIG_BLOCK, &awaited, NULL);
    for (;;) {
        int received = 0;
        if (sigwait(&awaited, &received) != 0) {
            return 1;
        }
        if (received != SIGCHLD) {
            return 0;
        }
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}
