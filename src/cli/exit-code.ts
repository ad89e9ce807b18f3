/** What the process tells its parent: 0 done, 1 failed, 2 used wrongly, 3 the service or its database is not ready. */
export type ExitCode = 0 | 1 | 2 | 3;
