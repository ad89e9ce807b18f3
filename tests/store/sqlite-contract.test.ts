import { StoreFolder } from "../support/store-folder.ts";
import { appStoreContract } from "./contract/app-store.ts";
import { credentialStoreContract } from "./contract/credential-store.ts";
import type { OpenStore } from "./contract/open-store.ts";

const openSqlite: OpenStore = async () => {
  const folder = new StoreFolder();
  const store = await folder.open();
  const reopen = () => {
    folder.close();
    return folder.open();
  };
  return { store, reopen, dispose: () => folder[Symbol.dispose]() };
};

credentialStoreContract("SQLite", openSqlite);
appStoreContract("SQLite", openSqlite);
