/* Asks a port of this container: "check tcp PORT" or "check http PORT PATH [HEADER...]".
 *
 * Ends with 0 when it was answered (http: by a status from 200 to 399, as a kubelet judges), else with 1 and a line
 * that says why. It waits for ever: the engine ends it at the check's own timeout. Redirects are an answer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static int failed(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

static int sent(int connection, const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t done = send(connection, text, left, MSG_NOSIGNAL);
        if (done < 0) {
            return 0;
        }
        text += done;
        left -= (size_t)done;
    }
    return 1;
}

static int asked(int connection, int count, char **words) {
    int ok = sent(connection, "GET ") && sent(connection, words[3])
        && sent(connection, " HTTP/1.1\r\nUser-Agent: testbed-healthcheck\r\nAccept: */*\r\nConnection: close\r\n");
    int named = 0;
    for (int index = 4; ok && index < count; index++) {
        named |= strncasecmp(words[index], "host:", 5) == 0;
        ok = sent(connection, words[index]) && sent(connection, "\r\n");
    }
    return ok && (named || sent(connection, "Host: 127.0.0.1\r\n")) && sent(connection, "\r\n");
}

static int judged(int connection) {
    char answer[16] = "";
    size_t filled = 0;
    while (filled < 12) {
        ssize_t got = recv(connection, answer + filled, 12 - filled, 0);
        if (got < 0) {
            return failed("no answer");
        }
        if (got == 0) {
            break;
        }
        filled += (size_t)got;
    }
    int status = filled == 12 && strncmp(answer, "HTTP/1.", 7) == 0 ? atoi(answer + 9) : 0;
    if (status >= 200 && status < 400) {
        printf("status %d\n", status);
        return 0;
    }
    if (status) {
        printf("HTTP status %d\n", status);
    } else {
        printf("the answer is not HTTP\n");
    }
    return 1;
}

int main(int count, char **words) {
    int http = count >= 4 && strcmp(words[1], "http") == 0;
    if (!http && !(count == 3 && strcmp(words[1], "tcp") == 0)) {
        printf("usage: check tcp PORT | check http PORT PATH [HEADER...]\n");
        return 2;
    }
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(words[2]))};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connection < 0 || connect(connection, (struct sockaddr *)&target, sizeof target) < 0) {
        return failed("connect");
    }
    if (!http) {
        printf("connected\n");
        return 0;
    }
    if (!asked(connection, count, words)) {
        return failed("send");
    }
    return judged(connection);
}
