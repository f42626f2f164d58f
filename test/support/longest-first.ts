import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes half a minute and more on two cores. Last, each would keep one core waiting for the other. */
const LONG = [
  'test/faults/fleet.test.ts',
  'test/app/mixed.test.ts',
  'test/fresh-clone.test.ts',
  'test/app/analytics-kill.test.ts',
  'test/contracts/broker-rabbitmq.test.ts',
  'test/contracts/analytics.test.ts',
  'test/projections/analytics.test.ts',
  'test/faults/embedded.test.ts',
  'test/app/roles.test.ts',
  'test/contracts/analytics-connection.test.ts',
  'test/app/clusters.test.ts',
  'test/app/stop.test.ts',
];

/** Starts the long files first, and the others as vitest would. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const index = LONG.indexOf(relative(this.ctx.config.root, moduleId));
      return index < 0 ? LONG.length : index;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
