// The audit log: who did what to whom, by ids; and alerts, a line for each window in which something came too often.
import type { Cancel } from '../ports.ts';
import { expectedError } from '../protocol/errors.ts';
import type { ChannelId, MemberId, RowId } from '../protocol/ids.ts';
import { ALERT_WINDOW_MS, ALERTS } from '../protocol/limits.ts';
import type { Change } from './changes.ts';
import type { ServerContext } from './context.ts';
import type { AuditRow } from './rows.ts';

export type AuditKind =
  | 'member.joined'
  | 'member.erased'
  | 'member.banned'
  | 'member.unbanned'
  | 'member.role'
  | 'device.added'
  | 'device.revoked'
  | 'second.set'
  | 'second.removed'
  | 'invite.created'
  | 'invite.revoked'
  | 'server.settings'
  | 'server.backup'
  | 'server.alert';

type Line = {
  /** Null: the administration, or the server itself. */
  readonly actor: MemberId | null;
  readonly kind: AuditKind;
  readonly target: MemberId | ChannelId | RowId | string;
  /** A few short fields, never a text of a person. */
  readonly detail?: Readonly<Record<string, string | number>>;
};

/** A line of the audit log as a change of an event. */
export const audited = (context: ServerContext, line: Line): Change => ({
  kind: 'audit',
  row: auditRow(context, line),
});

/** Writes a line of the audit log on its own. */
export const audit = (context: ServerContext, line: Line): Promise<void> =>
  context.store.putAudit(auditRow(context, line));

/** A line of the audit log, for what writes it with an act. */
export const auditRow = (context: ServerContext, line: Line): AuditRow => ({
  id: context.rowId(),
  at: context.clock.now(),
  actor: line.actor,
  kind: line.kind,
  target: line.target,
  detail: line.detail === undefined ? '' : JSON.stringify(line.detail),
});

/** Looks at the counts once a window: what was too often gets one line with its number. */
export class Alerts implements Disposable {
  readonly #context: ServerContext;
  readonly #before = new Map<string, number>();
  #cancel: Cancel;

  constructor(context: ServerContext) {
    this.#context = context;
    this.#cancel = this.#later();
  }

  /** Ends a window: resolves once its lines are written. */
  async look(): Promise<void> {
    const { counts, journal } = this.#context;
    for (const [what, most] of Object.entries(ALERTS) as [keyof typeof ALERTS, number][]) {
      const [now, before] = [counts.of(what), this.#before.get(what) ?? 0];
      this.#before.set(what, now);
      if (now - before <= most) continue;
      const detail = { what, count: now - before, windowMs: ALERT_WINDOW_MS };
      journal.warn('server.alert', detail);
      await audit(this.#context, { actor: null, kind: 'server.alert', target: '', detail });
    }
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }

  #later(): Cancel {
    return this.#context.clock.after(ALERT_WINDOW_MS, () => {
      this.#cancel = this.#later();
      const { journal, bug } = this.#context;
      this.look().catch((error: unknown) =>
        expectedError(error) === undefined ? bug(error) : journal.warn('alerts.notKept', {}),
      );
    });
  }
}
