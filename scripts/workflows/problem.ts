/** What is wrong in a file, for people; lines count from 1. */
export interface Problem {
  line: number;
  message: string;
}
