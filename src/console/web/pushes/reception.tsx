import type { CallbackData, SavedCallbackData } from "../../../api/v1-callbacks-schema.ts";
import { post, put, remove } from "../api.ts";
import { Button } from "../parts/button.tsx";
import { Id } from "../parts/copy.tsx";
import { ask, Dialog, FormDialog } from "../parts/dialog.tsx";
import { SelectField, TextField, useInput } from "../parts/field.tsx";
import { Facts, Section } from "../parts/page.tsx";
import { openDialog, showOnce } from "../parts/dialogs.tsx";
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
  const path = pathOf(data.app);
  // The version that is seen now: what changes meanwhile is not overwritten.
  const given = ifMatch(data.version);
  const edit = () => openDialog((close) => <EditDialog data={data} reload={reload} onClose={close} />);
  const rotate = () =>
    ask(() => ({
      title: w.rotate,
      action: w.rotate,
      kind: "primary",
      hint: w.rotateHint,
      onConfirm: async () => {
        showMade(await post<SavedCallbackData>(`${path}/rotate`, {}, given));
        reload();
      },
    }));
  const finish = () =>
    ask(() => ({
      title: w.finish,
      action: w.finish,
      kind: "primary",
      hint: w.finishHint,
      onConfirm: async () => {
        await post(`${path}/finish`, undefined, given);
        reload();
      },
    }));
  const removeAll = () =>
    ask(() => ({
      title: w.removeAll,
      action: w.remove,
      text: data.app,
      hint: w.removeAllHint,
      onConfirm: async () => {
        await remove(path, given);
        reload();
      },
    }));
  return (
    <>
      {data.damaged && <Banner tone="bad">{w.damagedHint}</Banner>}
      {data.mode === "plain" && <Banner tone="warn">{w.plainHint}</Banner>}
      {data.rotating && (
        <Banner
          tone="info"
          action={
            <Button isSmall onClick={finish}>
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
              <Button isDisabled={data.rotating ?? false} onClick={rotate}>
                {w.rotate}
              </Button>
              <Button onClick={edit}>{w.edit}</Button>
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
        <Button kind="danger" onClick={removeAll}>
          {w.removeAll}
        </Button>
      </p>
    </>
  );
}

function Checked({ at }: { readonly at: number | undefined }) {
  return at === undefined ? <>{w.uncheckedHint}</> : <Time at={at} />;
}

function EditDialog({ data, reload, onClose }: Shown & { readonly onClose: () => void }) {
  const mode = useInput(data.mode ?? "secure");
  const format = useInput(data.format ?? "xml");
  const ids = useInput(data.receive_ids?.join(", ") ?? "");
  const isWecom = data.app.includes("_");
  const save = async () => {
    const receiveIds = ids.value.split(",").map((id) => id.trim());
    await put(
      pathOf(data.app),
      { mode: mode.value, format: format.value, receive_ids: receiveIds },
      ifMatch(data.version),
    );
    reload();
  };
  return (
    <FormDialog title={w.editReception} action={w.save} onClose={onClose} onSubmit={save}>
      {!isWecom && (
        <SelectField
          label={w.mode}
          hint={w.modeHint}
          {...mode}
          options={(["secure", "compat", "plain"] as const).map((value) => [value, w[value]])}
        />
      )}
      <SelectField
        label={w.format}
        {...format}
        options={[
          ["xml", "XML"],
          ["json", "JSON"],
        ]}
      />
      <TextField label={w.receiveIds} hint={w.receiveIdsHint} {...ids} isMono />
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
          {w.storedThem}
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
