import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { envelopeOf } from "../protocol/schema.ts";
import { NAME, VERSION } from "./version.ts";

/** `GET /`: what answers here, and where its documentation is, if there is any. */
export function indexRoute(hasDocs: boolean) {
  const data = { name: NAME, version: VERSION, ...(hasDocs ? { docs: "/swagger" } : {}) };
  return new Elysia().get("/", () => data, {
    detail: {
      summary: "Name and version · 服务名称与版本",
      tags: ["Service"],
      responses: envelopeOf(
        "Name, version and the path of this documentation. 名称、版本与文档路径。",
        Type.Object({ name: Type.String(), version: Type.String(), docs: Type.Optional(Type.String()) }),
        data,
      ),
    },
  });
}
