import { GraphQLID as ID, GraphQLInt as Int } from 'graphql';
import { Field, InputType } from 'type-graphql';
import type { RequestNotification } from '../commands/commands.ts';
import type { Channel, Lane } from '../events/event.ts';
import { ChannelEnum, LaneEnum } from './enums.ts';
import { DateTimeScalar, JsonObjectScalar } from './scalars.ts';

@InputType('ContentInput', {
  description:
    'url is the deep link or page that the message leads to. ' +
    'Without a title an e-mail takes the first line of its body as subject.',
})
export class ContentInput {
  @Field(() => String, { nullable: true })
  readonly title?: string | null;
  @Field(() => String)
  readonly body!: string;
  @Field(() => String, { nullable: true })
  readonly html?: string | null;
  @Field(() => String, { nullable: true })
  readonly url?: string | null;
}

@InputType('TemplateRefInput')
export class TemplateRefInput {
  @Field(() => String)
  readonly key!: string;
  @Field(() => Int, { nullable: true, description: 'Left out: the newest at the time of the request.' })
  readonly version?: number | null;
}

const DEFAULT_CATEGORY = 'general';
const DEFAULT_LANE: Lane = 'TRANSACTIONAL';

@InputType('RequestNotificationInput')
export class RequestNotificationInput {
  @Field(() => String, {
    nullable: true,
    description:
      'Same key, same input: the first answer again. Same key, other input: IDEMPOTENCY_CONFLICT. ' +
      'At most 255 characters; remembered as long as the log is kept.',
  })
  readonly idempotencyKey?: string | null;
  @Field(() => ID)
  readonly userId!: string;
  @Field(() => [ChannelEnum], {
    nullable: true,
    description: 'Left out: every channel the user can be reached on and has not switched off.',
  })
  readonly channels?: readonly Channel[] | null;
  @Field(() => ContentInput, { nullable: true, description: 'Exactly one of content and template.' })
  readonly content?: ContentInput | null;
  @Field(() => TemplateRefInput, { nullable: true })
  readonly template?: TemplateRefInput | null;
  @Field(() => JsonObjectScalar, { nullable: true, description: 'Variables of the template.' })
  readonly data?: Readonly<Record<string, unknown>> | null;
  @Field(() => String, {
    nullable: true,
    defaultValue: DEFAULT_CATEGORY,
    description: 'What users can switch off per channel.',
  })
  readonly category?: string | null;
  @Field(() => LaneEnum, { nullable: true, defaultValue: DEFAULT_LANE })
  readonly lane?: Lane | null;
  @Field(() => String, { nullable: true, description: 'A name to count by.' })
  readonly campaign?: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'Up to five minutes in the past counts as now.' })
  readonly deliverAt?: Date | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'Nothing is sent at or after this.' })
  readonly expiresAt?: Date | null;
}

/** Null counts as left out. `asSent`: the same input before defaults. */
export function toRequest(input: RequestNotificationInput, asSent: unknown): RequestNotification {
  const { userId, content, template } = input;
  return {
    idempotencyKey: input.idempotencyKey ?? null,
    userId,
    channels: input.channels ?? null,
    content: content ? toContent(content) : null,
    template: template ? { key: template.key, version: template.version ?? null } : null,
    data: input.data ?? null,
    category: input.category ?? DEFAULT_CATEGORY,
    lane: input.lane ?? DEFAULT_LANE,
    campaign: input.campaign ?? null,
    deliverAt: input.deliverAt ?? null,
    expiresAt: input.expiresAt ?? null,
    asSent,
  };
}

function toContent({ title, body, html, url }: ContentInput): NonNullable<RequestNotification['content']> {
  return { title: title ?? null, body, html: html ?? null, url: url ?? null };
}
