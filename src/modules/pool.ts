/**
 * Applications that are kept apart by processes: each gets a provider of its own, which nobody had before and nobody gets
 * after it. Some are started ahead.
 * @module
 */
import type { Cryptoki, Provider } from "../cryptoki/port.ts";

/** An application, and how to end it and all that it held. */
export interface Started {
  readonly cryptoki: Cryptoki;
  /** Safe to repeat. */
  end(): Promise<void>;
}

/** Where applications of a module come from, each to be ended on its own. */
export interface Applications {
  /** A new one, not yet initialised. */
  start(): Promise<Started>;
  /** Ends what was started ahead. Those that were given out are ended by who has them. */
  close(): Promise<void>;
}

/**
 * Providers for one application each.
 * @param make a new provider of the module
 * @param ready how many are started ahead
 */
export function onePerApplication(make: () => Provider, ready: number): Applications {
  const ahead = new Set<Promise<Started>>();
  let isClosed = false;

  async function launch(): Promise<Started> {
    const provider = make();
    try {
      return { cryptoki: await provider.open(), end: async () => provider.close() };
    } catch (error) {
      await provider.close();
      throw error;
    }
  }

  function refill(): void {
    while (!isClosed && ahead.size < ready) {
      const one = launch();
      ahead.add(one);
      // It may work by the time that somebody needs one, who is told if it does not.
      one.catch(() => ahead.delete(one));
    }
  }

  refill();
  return {
    async start() {
      const [first] = ahead;
      if (first !== undefined) ahead.delete(first);
      try {
        return await (first ?? launch());
      } finally {
        refill();
      }
    },
    async close() {
      isClosed = true;
      await Promise.allSettled([...ahead].map(async (one) => (await one).end()));
      ahead.clear();
    },
  };
}

/** A provider that keeps its applications apart itself, such as the built-in token's. It is closed with them. */
export function allOfOne(provider: Provider): Applications {
  return {
    start: async () => {
      const cryptoki = await provider.open();
      return { cryptoki, end: () => finalise(cryptoki) };
    },
    close: async () => provider.close(),
  };
}

async function finalise(cryptoki: Cryptoki): Promise<void> {
  try {
    await cryptoki.call("C_Finalize", {});
  } catch {
    // It was not initialised, or is no more: then there is nothing to let go of.
  }
}
