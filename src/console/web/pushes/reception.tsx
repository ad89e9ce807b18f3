import { useState } from "preact/hooks";
import type { CallbackData, SavedCallbackData } from "../../../api/v1-callbacks-schema.ts";
import { post, put, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { Id } from "../parts/copy.tsx";
import { ConfirmDialog, Dialog, FormDialog } from "../parts/dialog.tsx";
import { SelectField, TextField } from "../parts/field.tsx";
import { Facts, Section } from "../parts/page.tsx";
import { showOnce } from "../parts/shown-once.tsx";
import { Banner, Empty } from "../parts/states.tsx";
import { attempt } from "../parts/toast.tsx";
import { Time } from "../parts/time.tsx";
import { urlItems } from "./pushes.tsx";
import { w } from "./words.ts";

/** Secrets that were made just now, and for whom they are. */
interface Made {
  readonly kind?: CallbackData["kind"];
  readonly callback_url?: string | undefined;
  readonly message_url?: string | undefined;
  readonly token?: string | undefined;
  readonly aes_key?: string | undefined;
  readonly hmac_key?: string | undefined;
  readonly target?: string;
}

/** What the parts of this screen show and change. */
export interface Shown {
  readonly data: CallbackData;
  readonly reload: () => void;
}

/** With the version that was seen then: what has changed since must not be overwritten. */
interface Opened {
  readonly what: "edit" | "rotate" | "finish" | "remove";
  readonly version: number | undefined;
}

/** An app without settings: the way to make them. */
export function NotSetUp({ app, reload }: { readonly app: string; readonly reload: () => void }) {
  const setUp = async () => {
    await attempt(async () => {
      const saved = await put<SavedCallbackData>(pathOf(app), {});
      // An account of a third-party platform gets no Token of its own.
      if (saved.token !== undefined) showMade(saved);
    });
    reload();
  };
  return (
    <Empty
      title={w.notSetUp}
      hint={w.notSetUpHint}
      action={
        <Button kind="primary" onClick={setUp}>
          {w.setUp}
        </Button>
      }
    />
  );
}

/** How pushes are verified; Token and key are never shown again. */
export function Reception({ data, reload }: Shown) {
  const [opened, setOpened] = useState<Opened | undefined>(undefined);
  const open = (what: Opened["what"]) => setOpened({ what, version: data.version });
  const close = () => setOpened(undefined);
  const given = ifMatch(opened?.version);
  const path = pathOf(data.app);
  return (
    <>
      {data.damaged && <Banner tone="bad">{w.damagedHint}</Banner>}
      {data.mode === "plain" && <Banner tone="warn">{w.plainHint}</Banner>}
      {data.rotating && (
        <Banner
          tone="info"
          action={
            <Button isSmall onClick={() => open("finish")}>
              {w.finish}
            </Button>
          }
        >
          {w.rotatingHint}
        </Banner>
      )}
      <Section
        title={w.reception}
        actions={
          data.platform_app === undefined && (
            <span class="row">
              <Button isDisabled={data.rotating ?? false} onClick={() => open("rotate")}>
                {w.rotate}
              </Button>
              <Button onClick={() => open("edit")}>{w.edit}</Button>
            </span>
          )
        }
      >
        <Facts
          items={[
            ...urlItems(data.kind, data.callback_url, data.message_url),
            [w.ofPlatform, data.platform_app && <code>{data.platform_app}</code>],
            [w.secrets, data.platform_app === undefined ? w.secretsHidden : undefined],
            [w.mode, data.mode && w[data.mode]],
            [w.format, data.format?.toUpperCase()],
            [w.receiveIds, data.receive_ids?.map((id) => <code>{id === "" ? w.emptyId : id} </code>)],
            [w.checked, data.platform_app === undefined ? <Checked at={data.checked_at} /> : undefined],
          ]}
        />
      </Section>
      <p class="note">
        <Button kind="danger" onClick={() => open("remove")}>
          {w.removeAll}
        </Button>
      </p>
      {opened?.what === "edit" && <EditDialog data={data} reload={reload} onClose={close} />}
      {opened?.what === "rotate" && (
        <ConfirmDialog
          title={w.rotate}
          action={w.rotate}
          kind="primary"
          onClose={close}
          onConfirm={async () => {
            showMade(await post<SavedCallbackData>(`${path}/rotate`, {}, given));
            reload();
          }}
        >
          <p>{w.rotateHint}</p>
        </ConfirmDialog>
      )}
      {opened?.what === "finish" && (
        <ConfirmDialog
          title={w.finish}
          action={w.finish}
          kind="primary"
          onClose={close}
          onConfirm={async () => {
            await post(`${path}/finish`, undefined, given);
            reload();
          }}
        >
          <p>{w.finishHint}</p>
        </ConfirmDialog>
      )}
      {opened?.what === "remove" && (
        <ConfirmDialog
          title={w.removeAll}
          action={w.remove}
          text={data.app}
          onClose={close}
          onConfirm={async () => {
            await remove(path, given);
            reload();
          }}
        >
          <p>{w.removeAllHint}</p>
        </ConfirmDialog>
      )}
    </>
  );
}

function Checked({ at }: { readonly at: number | undefined }) {
  return at === undefined ? <>{w.uncheckedHint}</> : <Time at={at} />;
}

function EditDialog({ data, reload, onClose }: Shown & { readonly onClose: () => void }) {
  // What has changed meanwhile must not be overwritten.
  const [version] = useState(data.version);
  const [mode, setMode] = useState(data.mode ?? "secure");
  const [format, setFormat] = useState(data.format ?? "xml");
  const [ids, setIds] = useState(data.receive_ids?.join(", ") ?? "");
  const isWecom = data.app.includes("_");
  const save = async () => {
    const receiveIds = ids.split(",").map((id) => id.trim());
    await put(pathOf(data.app), { mode, format, receive_ids: receiveIds }, ifMatch(version));
    reload();
  };
  return (
    <FormDialog title={w.editReception} action={w.save} onClose={onClose} onSubmit={save}>
      {!isWecom && (
        <SelectField
          label={w.mode}
          hint={w.modeHint}
          value={mode}
          onInput={(value) => setMode(value as typeof mode)}
          options={(["secure", "compat", "plain"] as const).map((value) => [value, w[value]])}
        />
      )}
      <SelectField
        label={w.format}
        value={format}
        onInput={(value) => setFormat(value as typeof format)}
        options={[
          ["xml", "XML"],
          ["json", "JSON"],
        ]}
      />
      <TextField label={w.receiveIds} hint={w.receiveIdsHint} value={ids} onInput={setIds} isMono />
    </FormDialog>
  );
}

/** Shows Token and EncodingAESKey that were made just now, or the keys of a target, this once. */
export function showMade(made: Made): void {
  showOnce((close) => <MadeSecrets made={made} onClose={close} />);
}

function MadeSecrets({ made, onClose }: { readonly made: Made; readonly onClose: () => void }) {
  const { token, aes_key: aesKey, hmac_key: hmacKey, target } = made;
  const shown = (value: string | undefined) => value && <Id text={value} />;
  return (
    <Dialog title={w.madeTitle} onClose={onClose} isBlocking isWide>
      <div class="fields">
        <Banner tone="warn">{w.madeHint}</Banner>
        <p>{target === undefined ? w.enterThese : w.giveTarget(target)}</p>
        <Facts
          items={[
            ...(target === undefined ? urlItems(made.kind, made.callback_url, made.message_url) : []),
            ["Token", shown(token)],
            ["EncodingAESKey", shown(aesKey)],
            [w.hmacKey, shown(hmacKey)],
          ]}
        />
      </div>
      <footer>
        <Button kind="primary" onClick={onClose}>
          {w.storedIt}
        </Button>
      </footer>
    </Dialog>
  );
}

/** The path of an app's settings. */
export function pathOf(app: string): string {
  return `/v1/apps/${encodeURIComponent(app)}/callbacks`;
}

/** The version that a change is meant for, where there is one. */
export function ifMatch(version: number | undefined): { readonly version?: number } {
  return version === undefined ? {} : { version };
}
