import { failures, type Address, type Failure } from './wire.ts';

/** What becomes of an append instead of an answer. `committed`: it is in the log all the same. */
export type AppendFault =
  /** No answer, ever; the call stays open. */
  | { readonly kind: 'silence'; readonly committed: boolean }
  /** Committed at once, answered when the fault is lifted. */
  | { readonly kind: 'hold' }
  /** Committed at once, answered after so many milliseconds. */
  | { readonly kind: 'late'; readonly ms: number }
  /** The server says that its deadline has passed. */
  | { readonly kind: 'deadline-exceeded'; readonly committed: boolean }
  /** The call ends as if all were well, without an answer. */
  | { readonly kind: 'end'; readonly committed: boolean }
  /** The TCP connections are reset. */
  | { readonly kind: 'reset'; readonly committed: boolean }
  | { readonly kind: 'unavailable'; readonly committed: boolean }
  | { readonly kind: 'not-leader'; readonly leader: Address };

/** What becomes of a read, or of a subscription that begins. */
export type ReadFault =
  | { readonly kind: 'silence' }
  | { readonly kind: 'end' }
  /** A read ends after so many events, as if that were all. */
  | { readonly kind: 'cut'; readonly after: number }
  | { readonly kind: 'unavailable' }
  | { readonly kind: 'not-leader'; readonly leader: Address };

export interface Aim {
  /** How many calls it hits; default all until it is lifted. */
  readonly times?: number;
  /** Hits only streams whose name begins so; $all has the name `$all`. */
  readonly stream?: string;
}

/** Lifts a fault. */
export type Lift = () => void;

export interface FaultList<F> {
  readonly add: (fault: F, aim?: Aim) => Lift;
  /** The oldest fault that hits a call for `stream`, if any; `lifted` runs when it is lifted. */
  readonly take: (stream: string, lifted?: () => void) => F | undefined;
}

interface Aimed<F> {
  readonly fault: F;
  readonly stream: string;
  readonly onLift: (() => void)[];
  left: number;
}

export function faultList<F>(): FaultList<F> {
  const list = new Set<Aimed<F>>();
  return {
    add: (fault, { times = Infinity, stream = '' } = {}) => {
      const aimed: Aimed<F> = { fault, stream, onLift: [], left: times };
      list.add(aimed);
      return () => {
        list.delete(aimed);
        for (const lifted of aimed.onLift.splice(0)) lifted();
      };
    },
    take: (stream, lifted = () => undefined) => {
      for (const aimed of list) {
        if (!stream.startsWith(aimed.stream)) continue;
        aimed.onLift.push(lifted);
        aimed.left--;
        if (aimed.left <= 0) list.delete(aimed);
        return aimed.fault;
      }
      return undefined;
    },
  };
}

export function asFailure(fault: Exclude<ReadFault, { kind: 'silence' | 'end' | 'cut' }>): Failure {
  return fault.kind === 'not-leader' ? failures.notLeader(fault.leader) : failures.unavailable();
}

/** Passable, until it is shut, and again once it is opened. */
export interface Gate {
  readonly passed: () => Promise<void>;
  readonly shut: () => Lift;
}

export function openGate(): Gate {
  const closures = new Set<Promise<void>>();
  return {
    passed: async () => {
      while (closures.size > 0) await Promise.all(closures);
    },
    shut: () => {
      let open: Lift = () => undefined;
      const closure = new Promise<void>((resolve) => (open = resolve));
      closures.add(closure);
      return () => {
        closures.delete(closure);
        open();
      };
    },
  };
}
