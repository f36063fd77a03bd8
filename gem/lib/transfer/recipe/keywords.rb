# frozen_string_literal: true

module Transfer
  class Recipe
    # The recipe as keywords. A keyword's value is what follows the word in a block.
    module Keywords
      # Words that are no methods of a block.
      PLAIN = %w[version steps].freeze
      # Words that take several values; as a keyword a list.
      LISTS = %w[augment head freeze unfreeze finetune adapt weigh regularize].freeze
      # Of these, the words that take one name.
      NAMED = %w[head finetune adapt weigh regularize].freeze
      private_constant :PLAIN, :LISTS, :NAMED

      class << self
        # @param draft [Draft]
        # @param keywords [Hash{Symbol => Object}] words of the recipe; any other keyword is an option of `train`
        # @raise [RecipeError]
        def read(draft, keywords)
          words, training = keywords.partition { |word, _| [*WORDS, *PLAIN].include?(word.to_s) }.map(&:to_h)
          block = Block.new(draft, WORDS)
          words.each { |word, value| read_word(draft, block, word.to_s, value) }
          draft.merge("train", training) unless training.empty?
        end

        private

        def read_word(draft, block, word, value)
          case word
          when "on" then listen(draft, value)
          when "train" then draft.merge("train", options(draft, value))
          when *PLAIN then draft.set(word, value)
          when *LISTS then read_list(draft, block, word, value.is_a?(Array) ? value : [value])
          else block.public_send(word, value)
          end
        end

        def listen(draft, blocks)
          unless blocks.is_a?(Hash) && blocks.each_value.all? { |block| block.respond_to?(:to_proc) }
            draft.reject("on", "takes a block for each event: { epoch: ->(epoch) { … } }, got #{blocks.inspect}")
          end
          blocks.each { |event, block| draft.listen(event, block.to_proc) }
        end

        def options(draft, value)
          value.is_a?(Hash) ? value : draft.reject("train", "takes options such as { epochs: 5 }, got #{value.inspect}")
        end

        # A Hash at the end of the list holds the options.
        def read_list(draft, block, word, values)
          *names, options = values.last.is_a?(Hash) ? values : [*values, {}]
          surplus = NAMED.include?(word) && names.size > 1
          draft.reject(word, "takes a name and options, got #{values.inspect}") if surplus
          block.public_send(word, *names, **options)
        end
      end
    end
    private_constant :Keywords
  end
end
