import { counted, listed } from "../../core/not-empty.ts";
import { type Finding, remaining } from "../../library/doctor.ts";
import type { Context } from "../context.ts";
import type { Painter } from "../output/reporter.ts";
import { defineCommand } from "./command.ts";

interface DoctorInput {
  readonly repair: boolean;
  readonly yes: boolean;
}

interface Check {
  readonly check: string;
  /** `weaker`: usable, but the endpoint lacks something, or others may write to a directory. */
  readonly status: "ok" | "weaker" | "found";
  readonly detail: string;
}

/** Milliseconds; listings are ordered by ids, which contain this machine's time. */
const tolerableSkew = 60_000;

export const doctor = defineCommand({
  document: { schema: "docproc.doctor/1", items: "findings" },
  examples: [
    ["Check the library, change nothing", "doctor"],
    ["Clean up leftovers of interrupted uploads that are over a day old", "doctor --repair"],
  ],
  configure(command) {
    return command
      .option(
        "--repair",
        "remove objects without records, unfinished uploads and places without documents over a day old",
      )
      .option("-y, --yes", "with --repair: trust the catalog even if most objects have no record");
  },
  parse: (_args, flags): DoctorInput => ({ repair: flags.repair ?? false, yes: flags.yes ?? false }),
  async run(context, { repair, yes }) {
    const { reporter, signal, host } = context;
    const started = host.now();
    const checks: Check[] = [];
    const counts = { found: 0, repaired: 0 };
    let fix: string | undefined;
    const passed = async (check: Check) => {
      checks.push(check);
      await reporter.item({ value: check, id: null, aside: true, line: (painter) => checkLine(check, painter) });
    };
    const found = async (finding: Finding) => {
      counts.found += 1;
      if (finding.repaired) counts.repaired += 1;
      else fix ??= finding.fix;
      await reporter.item({ value: finding, id: finding.id, line: (painter) => findingLine(finding, painter) });
    };
    const { projectFile } = await context.config();
    await passed({ check: "config", status: "ok", detail: projectFile?.path ?? "defaults" });
    await checkServices(context, passed, found);
    const library = await context.library();
    const examination = { repair, trustCatalog: yes, signal };
    const { checksums, foreignNames, ...examined } = await library.examine(examination, found);
    if (!checksums) {
      const detail = "the endpoint stores none: uploads and verify compare only sizes";
      await passed({ check: "checksums", status: "weaker", detail });
    }
    const { records, objects, foreign } = examined;
    if (foreign > 0) {
      const detail = `${foreign} not created by docproc, left alone: ${listed(foreignNames, foreign)}`;
      await passed({ check: "other files", status: "ok", detail });
    }
    const status = counts.found === 0 ? "ok" : "found";
    await passed({
      check: "documents",
      status,
      detail: `${counted(records, "record")}, ${counted(objects, "object")}`,
    });
    return {
      envelope: { checks, summary: { ...examined, ...counts, durationMs: host.now() - started } },
      text: () => "",
      note: summary(counts, examined.young),
      failure: remaining(counts, fix),
    };
  },
});

/** Checks credentials, clocks, and that resources are as init created them. */
async function checkServices(
  context: Context,
  passed: (check: Check) => Promise<void>,
  found: (finding: Finding) => Promise<void>,
): Promise<void> {
  const { signal } = context;
  const library = await context.library();
  for await (const [service, skew] of library.clockSkews(signal)) {
    const seconds = Math.round(Math.abs(skew) / 1000);
    if (Math.abs(skew) <= tolerableSkew) {
      await passed({ check: `${service} clock`, status: "ok", detail: `${seconds} s apart` });
    } else {
      const message = `This machine's clock is ${seconds} s ${skew > 0 ? "behind" : "ahead of"} that of the ${service} service.`;
      await found({ code: "CLOCK_SKEW", id: null, name: service, message, fix: "Set the clock.", repaired: false });
    }
  }
  for await (const { kind, name, action, weakness } of library.provision({ plan: true, signal })) {
    if (weakness) await passed({ check: kind, status: "weaker", detail: `${name}: ${weakness}` });
    else if (action === "exists") await passed({ check: kind, status: "ok", detail: name });
    else if (action === "unsupported") {
      await passed({ check: kind, status: "weaker", detail: `${name}: not supported by the endpoint` });
    } else if (isMadeOnFirstUse(kind))
      await passed({ check: kind, status: "ok", detail: `${name}: nothing stored yet` });
    else {
      const message = action === "would-create" ? "It does not exist." : "It differs from what docproc init sets up.";
      const finding = { id: null, name: `${kind} of ${name}`, message, fix: "Run docproc init.", repaired: false };
      await found({ code: "DRIFT", ...finding });
    }
  }
}

/** The embedded library needs no init. */
function isMadeOnFirstUse(kind: string): boolean {
  return kind === "directory" || kind === "catalog";
}

function checkLine({ check, status, detail }: Check, painter: Painter): string {
  const paint = status === "ok" ? painter.good : painter.strong;
  return `${paint.call(painter, status.padEnd(8))} ${check.padEnd(24)} ${painter.text(detail)}`;
}

function findingLine({ code, name, message, fix, repaired }: Finding, painter: Painter): string {
  const mark = repaired ? painter.good("repaired") : painter.bad("found   ");
  const advice = repaired ? "" : `\n${" ".repeat(9)}${painter.faint(painter.text(fix))}`;
  return `${mark} ${code.padEnd(24)} ${painter.text(name)}: ${painter.text(message)}${advice}`;
}

function summary({ found, repaired }: { found: number; repaired: number }, young: number): string {
  const left = young === 0 ? "" : ` ${young} less than a day old, left alone.`;
  return `${counted(found, "problem")} found, ${repaired} repaired.${left}`;
}
