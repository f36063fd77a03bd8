# frozen_string_literal: true

module Transfer
  class Recipe # :nodoc:
    # `self` within `steps do … end`; also passed to the block if it takes an argument.
    class StepBlock
      include StepWords

      # @param draft [Draft]
      # @param known [Array<String>] the words that an error lists
      def initialize(draft, known)
        @draft = draft
        @known = known
      end

      # Calls a user's block.
      # @param block [Proc]
      # @raise [RecipeError] for an unknown word, at its line
      def read(block)
        own = block.arity.positive?
        own ? block.call(self) : instance_exec(self, &block)
      rescue NameError => error
        raise unless receiver(error).equal?(self)

        # A bare name may be a method of the object around the block, which `instance_exec` hides.
        message = Suggestion.unknown("word", error.name, @known) + (own ? "" : HINT)
        draft.reject("", message, Backtrace.location_of(error))
      end

      def inspect = "#<the recipe block>"

      private

      attr_reader :draft

      def receiver(error)
        error.receiver
      rescue ArgumentError # raised by code, without a receiver
        nil
      end

      HINT = "; to call your own methods, give the block an argument: { |recipe| … }"
      private_constant :HINT
    end

    # `self` within the block of `Transfer.train`.
    class Block < StepBlock
      include Words
    end
    private_constant :StepBlock, :Block
  end
end
