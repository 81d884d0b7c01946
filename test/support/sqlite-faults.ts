/** An embedded database that fails, for this process, until the test ends: the engine that docproc itself loads. */
import { onTestFinished, vi } from "vitest";
import { NthCall } from "./nth-call.ts";

export interface SqliteFault {
  /** Primary result code, https://www.sqlite.org/rescode.html: I/O error, or disk full. */
  readonly errcode: 10 | 13;
  /** Whether the statement had its effect all the same, as when only the flush of what it wrote fails. */
  readonly done: boolean;
}

export interface FaultySqlite {
  /** Lets the n-th call of exec(), prepare(), run(), get() or all() fail; counted from now. */
  arm(fault: SqliteFault, n: number): void;
  /** Ends it. Returns what failed, as `method sql`. */
  disarm(): string[];
}

const messages = { 10: "disk I/O error", 13: "database or disk is full" } as const;

type Method = (...args: unknown[]) => unknown;

export async function breakSqlite(): Promise<FaultySqlite> {
  const { name, engine } = await loadEngine();
  const nth = new NthCall();
  let armed: SqliteFault | undefined;

  /** Makes a call, unless it is the one that fails. */
  function act(label: string, call: () => unknown, rollBack: () => unknown): unknown {
    // BEGIN has nothing to flush: it never fails after it has begun a transaction.
    if (!armed || (armed.done && /^exec BEGIN/.test(label)) || !nth.isDue(label)) return call();
    if (armed.done) call();
    // SQLite does so itself when the disk is full: https://www.sqlite.org/lang_transaction.html
    else if (armed.errcode === 13) rollBack();
    const message = messages[armed.errcode];
    throw Object.assign(new Error(message), {
      code: "ERR_SQLITE_ERROR",
      errcode: armed.errcode,
      errstr: message,
    });
  }

  /** Replaces methods of one object: those of the class cannot be written to. */
  function replace(object: object, methods: readonly string[], make: (name: string, real: Method) => Method): void {
    for (const method of methods) {
      const real = (object as Record<string, Method>)[method] as Method;
      const value = make(method, (...args) => Reflect.apply(real, object, args));
      Object.defineProperty(object, method, { value });
    }
  }

  function watch(database: object): object {
    let rollBack: () => unknown = () => undefined;
    replace(database, ["exec", "prepare"], (method, real) => {
      if (method === "exec") rollBack = () => attempt(() => real("ROLLBACK"));
      return (sql) => {
        const result = act(`${method} ${sql}`, () => real(sql), rollBack);
        if (method === "prepare") {
          replace(result as object, ["run", "get", "all"], (name, call) => {
            return (...args) => act(`${name} ${sql}`, () => call(...args), rollBack);
          });
        }
        return result;
      };
    });
    return database;
  }

  const DatabaseSync = new Proxy(engine.DatabaseSync, {
    construct: (target, args) => watch(Reflect.construct(target, args)),
  });
  // src/files/sqlite.ts imports its engine anew for every database that it opens.
  vi.doMock(name, () => ({ ...engine, DatabaseSync }));
  onTestFinished(() => void vi.doUnmock(name));

  return {
    arm(fault, n) {
      armed = fault;
      nth.arm(n);
    },
    disarm() {
      armed = undefined;
      return nth.disarm();
    },
  };
}

/** The one of src/files/sqlite.ts. */
async function loadEngine(): Promise<{ name: string; engine: typeof import("@photostructure/sqlite") }> {
  const [builtIn, installed] = ["node:sqlite", "@photostructure/sqlite"];
  try {
    return { name: builtIn, engine: await import(builtIn) };
  } catch {
    return { name: installed, engine: await import(installed) };
  }
}

/** Without a transaction there is nothing to roll back. */
function attempt(action: () => unknown): void {
  try {
    action();
  } catch {}
}
