# frozen_string_literal: true

module Transfer
  class Recipe
    # A recipe that is being written: its words as plain data, the callbacks, and for each path (`steps[1]`) the line of
    # the user's code.
    class Draft
      # The key of a block's value in a row.
      GROUP = "group"

      attr_reader :words, :callbacks, :locations, :group, :domains
      attr_accessor :data

      def initialize(parent = nil)
        @words = parent ? parent.words.dup : {}
        @locations = parent ? parent.locations.dup : {}
        @callbacks = parent ? parent.callbacks.dup : []
        @data = parent&.data
        @domains = parent ? parent.domains.dup : {}
        @group = parent&.group
        @own_lists = []
      end

      def set(word, value)
        @locations[word] = Backtrace.user_location
        @words[word] = plain(value, word)
      end

      # The first `augment` or step of a subclass replaces the list it inherited; the next ones are added.
      def append(word, values)
        @words[word] = [] unless @own_lists.include?(word)
        @own_lists |= [word]
        values.each do |value|
          path = "#{word}[#{@words[word].size}]"
          @locations[path] = Backtrace.user_location
          @words[word] += [plain(value, path)]
        end
      end

      def merge(word, values)
        values.each_key { |key| @locations["#{word}.#{key}"] = Backtrace.user_location }
        @words[word] = { **@words.fetch(word, {}), **plain(values, word) }
      end

      def source(value)
        @data = checked("data", value)
      end

      # @param word [String] `source` or `unlabelled`
      def domain(word, value)
        @domains[word] = checked(word, value)
      end

      # A block that groups rows stays in this process; each row then has its value as `group`.
      def split(value, block)
        named = value.is_a?(Hash) ? value.transform_keys(&:to_s) : {}
        given = block || named["group"]
        @group = given if given.respond_to?(:call)
        set("split", @group ? { **named, "group" => GROUP } : value)
      end

      # @raise [RecipeError] if a block groups the rows of a file
      def check_group
        return if group.nil? || data.nil? || Source.rows?(data)

        message = "a block groups rows, but data is a path. Fix: name a column, split group: \"…\""
        raise RecipeError, [RecipeError::Problem.new("split", message, locations["split"])]
      end

      def listen(event, block)
        reject("on", Event.unknown(event)) unless Event.known?(event)
        @callbacks += [[event.to_sym, block]]
      end

      # @param location [Thread::Backtrace::Location, nil] of the word; by default the user's line that is being run
      # @raise [RecipeError]
      def reject(path, message, location = Backtrace.user_location)
        raise RecipeError, [RecipeError::Problem.new(path, message, location)], cause: nil
      end

      private

      def checked(word, value)
        @locations[word] = Backtrace.user_location
        Source.outline(value)
        value
      rescue ArgumentError => error
        reject(word, error.message)
      end

      def plain(value, path)
        case value
        when Hash then value.to_h { |key, inner| [Plain.text(key.to_s), plain(inner, "#{path}.#{key}")] }
        when Array, Set, Range then value.map.with_index { |inner, i| plain(inner, "#{path}[#{i}]") }
        else Plain.scalar(value)
        end
      rescue ArgumentError => error
        reject(path, "expected plain data (text, numbers, lists, hashes), #{error.message}")
      end
    end
    private_constant :Draft
  end
end
