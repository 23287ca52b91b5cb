/** What each gate claims, in one sentence: the gates themselves, their documentation and the report quote it. */
export const gateClaims = {
  repeat: 'each arm run twice gives the same bits at every hook, in fresh sessions and in a fresh process',
  alignment: 'embeddings, positions, visible keys and the first token are equal in both arms',
  canary:
    'every type the policy names really rounds: ties, kept ulps, overflow and subnormals, as the next operation sees them',
  provenance:
    'the optimized graphs have exactly the predicted operators and casts; arms of one preset run equal graphs',
  'no-op':
    'patch inputs that are off, and patches that write a value over itself, equal the unpatched graph at every hook',
  null: 'decoding two rows per step with the cache in use equals honest recomputation at every hook',
  'full-patch': 'history and kernel both replaced, through the patch path, equal honest recomputation',
  prefix: 'row i of the uncached arm is the same in every length n ≥ 2 it is computed in',
  observer: 'capturing hooks changes neither logits nor the residual stream: none, core and all give the same bits',
  finite: 'no NaN at any hook; infinities only where the policy can overflow; subnormals counted',
  residual: 'resid_pre + attn_out = resid_mid and resid_mid + mlp_out = resid_post after the policy’s rounding',
  'batch-threads': 'batch size and intra-op threads are the same in both arms; their effect is measured by audit',
} as const;
