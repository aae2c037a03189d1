/**
 * The conformance suite: what a PKCS#11 module does, as seen at the port. One suite for every module.
 *
 * What a module cannot do it declares with a reason, and the reason is in the test's name. Such a test has to fail: when
 * it does not, the declaration is out of date.
 */
import { afterAll, beforeAll, describe, test } from "vitest";
import { encryption } from "./encryption.ts";
import { information } from "./information.ts";
import { type Ability, Kit, type Subject } from "./kit.ts";
import { objects } from "./objects.ts";
import { operations } from "./operations.ts";
import { persistence } from "./persistence.ts";
import { sessions } from "./sessions.ts";
import { signing } from "./signing.ts";
import { wrapping } from "./wrapping.ts";

/** Defines a test that needs these abilities. */
export type Can = (needs: readonly Ability[], name: string, run: (kit: Kit) => Promise<void>) => void;

/** The chapters of the suite. */
const CHAPTERS = {
  information,
  sessions,
  objects,
  operations,
  signing,
  encryption,
  wrapping,
  persistence,
} as const;
export type Chapter = keyof typeof CHAPTERS;

/** Runs the suite, or some of its chapters, on a module. */
export function conformance(subject: Subject, chapters: readonly Chapter[] = Object.keys(CHAPTERS) as Chapter[]): void {
  describe(subject.name, () => {
    let kit: Kit;

    beforeAll(async () => {
      const target = await subject.open();
      kit = new Kit(target, await target.provider.open(), subject);
      await kit.initialise();
    });

    afterAll(async () => {
      // Also after a failure: a TPM keeps the sessions of whoever does not finalise.
      await kit.target.provider.close();
      await kit.target.remove();
    });

    const declared = { ...subject.unsupported, ...subject.quirks };
    const can: Can = (needs, name, run) => {
      const gap = needs.find((ability) => declared[ability] !== undefined);
      const harm = needs.find((ability) => subject.harmful?.[ability] !== undefined);
      if (harm !== undefined) test.skip(`${name} - not run: ${harm}, ${subject.harmful?.[harm]}`);
      else if (gap === undefined) test(name, () => run(kit));
      else test.fails(`${name} - not here: ${gap}, ${declared[gap]}`, () => run(kit));
    };

    for (const chapter of chapters) describe(chapter, () => CHAPTERS[chapter](can));
  });
}
