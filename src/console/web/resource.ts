import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get } from "./api.ts";
import { type LiveTopic, onChange } from "./live.ts";

/** Something of the server's, as far as it is known. */
export interface Resource<T> {
  /** The last answer, also while another one is on its way or has failed; undefined before the first. */
  readonly data: T | undefined;
  /** Why the last request failed; undefined once one has succeeded. */
  readonly error: ApiError | undefined;
  readonly isLoading: boolean;
  /** Whether `data` may have been overtaken: the last request failed, or belongs to another path. */
  readonly isStale: boolean;
  readonly reload: () => void;
}

/** When a resource is asked for again. */
export interface ResourceOptions {
  /** After these changes. */
  readonly topics?: readonly LiveTopic[];
  /** Only after changes of this app, or of any. */
  readonly app?: string;
  /** Also this often, while the page is looked at. */
  readonly everyMs?: number;
}

/**
 * The answer to `GET path`, kept up to date: `useResource<Overview>("/v1/overview", { topics: ["credential"] })`.
 *
 * Asks again when the path or one of the topics changes. The newest request wins: an answer that was overtaken is
 * dropped. What was shown stays until the new answer is there. Without a path nothing is asked.
 */
export function useResource<T>(path: string | undefined, options: ResourceOptions = {}): Resource<T> {
  const [state, setState] = useState<{ path?: string; data?: T; error?: ApiError; isLoading: boolean }>({
    isLoading: path !== undefined,
  });
  const running = useRef<AbortController | undefined>(undefined);
  const isOvertaken = useRef(false);
  const load = useRef<(isBackground?: boolean) => void>(() => undefined);
  load.current = (isBackground = false) => {
    running.current?.abort();
    isOvertaken.current = false;
    if (path === undefined) return;
    const mine = new AbortController();
    running.current = mine;
    setState((before) => ({ ...before, isLoading: true }));
    const ask = async () => {
      try {
        const data = await get<T>(path, { signal: mine.signal, isBackground });
        if (running.current === mine) setState({ path, data, isLoading: false });
      } catch (error) {
        if (running.current !== mine || !(error instanceof ApiError)) return;
        setState((before) => ({ ...before, path, error, isLoading: false }));
      }
      if (running.current !== mine) return;
      running.current = undefined;
      if (isOvertaken.current) load.current(true);
    };
    void ask();
  };
  useEffect(() => {
    load.current();
    return () => {
      running.current?.abort();
      running.current = undefined;
    };
  }, [path]);
  const topics = options.topics?.join() ?? "";
  const { app, everyMs } = options;
  useEffect(() => {
    if (topics === "") return undefined;
    return onChange(topics.split(",") as LiveTopic[], (apps) => {
      if (app !== undefined && apps?.has(app) === false) return;
      // A slow answer is waited for: with changes all the time there would never be one.
      if (running.current) isOvertaken.current = true;
      else load.current(true);
    });
  }, [topics, app]);
  useEffect(() => {
    if (everyMs === undefined) return undefined;
    const timer = setInterval(() => {
      if (!document.hidden && !running.current) load.current(true);
    }, everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return {
    ...{ data: state.data, error: state.error, isLoading: state.isLoading },
    isStale: state.data !== undefined && (state.error !== undefined || state.path !== path),
    reload: () => load.current(),
  };
}
