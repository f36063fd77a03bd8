# frozen_string_literal: true

module Transfer
  class Recipe
    # The steps, in the order in which they are taken.
    module StepWords
      NAMES = %w[freeze unfreeze finetune train].freeze

      # A step: `freeze :backbone`, `freeze first: 10`, or the names of blocks.
      def freeze(*blocks, **options)
        step("freeze", blocks == [:backbone] ? [] : blocks, options)
      end

      # A step: `unfreeze last: 3`, `unfreeze :all`, or the names of blocks.
      def unfreeze(*blocks, **options)
        return step("unfreeze", [], { all: true, **options }) if [[:all], [:backbone]].include?(blocks)

        step("unfreeze", blocks, options)
      end

      # A step: `finetune :lora, rank: 8` lets small adapters train beside the backbone's dense layers.
      def finetune(method = nil, **options)
        return step("lora", [], options) if method.to_s == "lora"

        draft.reject("steps", "finetune takes :lora, got #{method.inspect} (unfreeze selects the blocks that train)")
      end

      # A step: `train epochs: 5, optimizer: :adam, learning_rate: 1e-3`.
      def train(**options) = step("train", [], options)

      private

      def step(type, blocks, options)
        draft.append("steps", [{ type:, **(blocks.empty? ? {} : { blocks: }), **options }])
      end
    end
    private_constant :StepWords
  end
end
