# frozen_string_literal: true

module Transfer
  class Recipe
    # What `self` is inside the block of `Transfer.train`, and what the block is given if it takes an argument.
    class Block
      include Words

      def initialize(draft)
        @draft = draft
      end

      def inspect = "#<the recipe block>"

      private

      attr_reader :draft

      # A word that is not in the vocabulary. A bare name, too: it may be a method of the object around the
      # block, which `instance_exec` hides.
      def method_missing(name, *)
        draft.reject("", Suggestion.unknown("word", name, WORDS) + HINT)
      end

      def respond_to_missing?(*) = false

      HINT = "; to call your own methods, give the block an argument: { |recipe| … }"
      private_constant :HINT
    end
    private_constant :Block
  end
end
