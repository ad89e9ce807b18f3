import { Elysia } from "elysia";

/** The smallest program that is of the service's kind: compiled, it shows what every start costs. It gets its port from PORT. */
new Elysia().get("/", () => "ok").listen({ hostname: "127.0.0.1", port: Number(process.env.PORT) });
