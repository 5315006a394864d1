/*
 * standard.h - the numbers of standard input, output and error, where the program has none.
 */
#ifndef STANDARD_H
#define STANDARD_H

/*
 * Before the library opens a descriptor that is to stay: opens the null device in the place of those that are closed, or what the program
 * prints would go to the library's, and a daemon would overwrite that. Programs that are executed get it, too. 0; -1 with errno after a
 * message.
 */
int standard_occupy(void);

#endif
