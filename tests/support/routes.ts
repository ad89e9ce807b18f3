import { ElysiaFace, type RouteOptions } from "../../src/http/elysia-face.ts";

/** A route as the router has it. */
export interface Route {
  readonly method: string;
  /** With `:names` where something is to be put in. */
  readonly pattern: string;
  /** The pattern with something put in, as a request could send it. */
  readonly path: string;
}

/**
 * Every route of the app, hidden ones too, as its router lists them: what is added there is in here.
 *
 * The app is built for the list alone, with nothing behind it; it can't answer a request.
 */
export function allRoutes(): readonly Route[] {
  const options = { visibility: { metrics: "on", swagger: "on" }, ops: {} };
  const { routes } = new ElysiaFace(options as unknown as RouteOptions);
  return routes.map(({ method, path }) => ({
    method,
    pattern: path,
    path: path.replaceAll(/:\w+/g, "example"),
  }));
}
