import { expect, test } from "bun:test";
import { SandboxHarness } from "./sandbox-harness.ts";

const IMAGE = new Uint8Array([0xff, 0xd8, 0, 1, 2, 3]);

async function setup() {
  const world = new SandboxHarness();
  const access_token = String((await world.stable()).json["access_token"]);
  const upload = (path: string, type: string, parts: Record<string, string | File>) => {
    const body = new FormData();
    for (const [name, part] of Object.entries(parts)) body.set(name, part);
    return world.weixin(path, { access_token, type }, { method: "POST", body });
  };
  const add = (type: string, parts: Record<string, string | File>) =>
    upload("/cgi-bin/material/add_material", type, parts);
  const get = (media_id: unknown) =>
    world.weixinPost("/cgi-bin/material/get_material", { access_token }, { media_id });
  return { world, access_token, upload, add, get, [Symbol.asyncDispose]: () => world.sandbox.stop() };
}

test("a permanent image has an address and comes back byte for byte", async () => {
  await using it = await setup();
  const media = new File([IMAGE], "照片.jpg", { type: "image/jpeg" });
  const added = (await it.add("image", { media })).json;
  expect(added["url"]).toBeString();
  const query = new URLSearchParams({ access_token: it.access_token });
  const got = await fetch(`${it.world.sandbox.weixinUrl}/cgi-bin/material/get_material?${query.toString()}`, {
    method: "POST",
    body: JSON.stringify({ media_id: added["media_id"] }),
    keepalive: false,
    proxy: false,
  });
  expect(got.headers.get("content-type")).toBe("image/jpeg");
  expect(got.headers.get("content-disposition")).toStartWith("attachment;");
  expect(new Uint8Array(await got.arrayBuffer())).toEqual(IMAGE);
});

test("a permanent video and articles come back as JSON", async () => {
  await using it = await setup();
  const media = new File(["12345"], "a.mp4", { type: "video/mp4" });
  const description = JSON.stringify({ title: "标题", introduction: "简介" });
  const { media_id } = (await it.add("video", { media, description })).json;
  const video = await it.get(media_id);
  expect(video.type).toBe("application/json; encoding=utf-8");
  expect(video.json).toMatchObject({ title: "标题", description: "简介" });
  expect(video.json["down_url"]).toBeString();
  expect((await it.get("sandbox-news")).json["news_item"]).toBeArray();
});

test("material that is not there, empty or badly described is refused", async () => {
  await using it = await setup();
  const media = new File(["12345"], "a.mp4", { type: "video/mp4" });
  expect((await it.get("x")).json["errcode"]).toBe(40007);
  expect((await it.add("image", {})).json["errcode"]).toBe(44001);
  expect((await it.add("nothing", { media })).json["errcode"]).toBe(40097);
  expect((await it.add("video", { media, description: "{" })).json["errcode"]).toBe(47001);
});

test("an image for articles is answered with its address, and must be an image", async () => {
  await using it = await setup();
  const send = (media: File) => it.upload("/cgi-bin/media/uploadimg", "", { media });
  const image = await send(new File([IMAGE], "a.jpg", { type: "image/jpeg" }));
  expect(Object.keys(image.json)).toEqual(["url"]);
  expect((await send(new File(["12345"], "a.txt", { type: "text/plain" }))).json["errcode"]).toBe(40005);
});
