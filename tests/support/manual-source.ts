import type { CredentialSource, ObtainOptions } from "../../src/credentials/source.ts";
import {
  credentialKey,
  type CredentialRef,
  type IssuedCredential,
} from "../../src/credentials/credential.ts";
import { Secret } from "../../src/secret.ts";

/** One request that waits for a test to answer it. */
export interface OpenRequest {
  readonly ref: CredentialRef;
  readonly signal: AbortSignal;
  readonly force: boolean;
  issue(value: string, lifeMs?: number): void;
  fail(error: Error): void;
}

/** What a source says when it is asked: a value that lives two hours, a credential, or an error. */
export type HandAnswer = string | IssuedCredential | Error;

/**
 * A source that a test answers by hand, and that counts what it is asked.
 *
 * With `answers` it gives one after the other at once; without, or after the last, each request waits in `open`.
 */
export class ManualSource implements CredentialSource {
  readonly asked: string[] = [];
  /** How many of these asked WeChat to make a new token, whatever the current one has left. */
  forced = 0;
  readonly open: OpenRequest[] = [];
  readonly #answers: HandAnswer[];
  #expected: { count: number; resolve: () => void }[] = [];

  constructor(...answers: HandAnswer[]) {
    this.#answers = answers;
  }

  /** Adds answers to those that are given at once. */
  script(...answers: HandAnswer[]): void {
    this.#answers.push(...answers);
  }

  /** Resolves as soon as it has been asked `count` times in all. */
  askedTimes(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.asked.length >= count) resolve();
      else this.#expected.push({ count, resolve });
    });
  }

  async obtain(ref: CredentialRef, { signal, force = false }: ObtainOptions): Promise<IssuedCredential> {
    if (force) this.forced++;
    this.asked.push(credentialKey(ref));
    for (const { count, resolve } of this.#expected) if (this.asked.length >= count) resolve();
    this.#expected = this.#expected.filter(({ count }) => this.asked.length < count);
    const answer = this.#answers.shift();
    if (answer instanceof Error) throw answer;
    if (typeof answer === "string") return issued(answer);
    if (answer) return answer;
    return new Promise((resolve, reject) => {
      const issue = (value: string, lifeMs?: number) => resolve(issued(value, lifeMs));
      this.open.push({ ref, signal, force, issue, fail: reject });
    });
  }
}

/** A credential that has just been issued. */
export function issued(value: string, lifeMs = 7_200_000): IssuedCredential {
  return { value: new Secret(value), lifeMs };
}
