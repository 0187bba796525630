/** A problem in a file, for people. Lines count from 1. */
export interface Problem {
  line: number;
  message: string;
}
