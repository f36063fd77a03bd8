# frozen_string_literal: true

require "date"

module Transfer
  module Bridge
    # Compares a value with a shape. A Symbol is a kind of value; `[shape]` a list; a Hash with texts as keys a map with
    # these keys, of which `"key?"` may be missing, and perhaps others with plain data; `{ each: shape }` a map of any
    # texts; `{ maybe: shape }` also nil; `{ or_empty: shape }` also an empty map; `{ one_of: shapes }` the first map
    # whose keys are there; `{ where: [shape, words, condition] }` a shape with a condition.
    module Shape
      number = ->(value) { value.is_a?(Float) || value.is_a?(Integer) }
      text = ->(value) { value.is_a?(String) && value.encoding == Encoding::UTF_8 && value.valid_encoding? }
      KINDS = {
        text: ["text", text], number: ["a number", number],
        flag: ["true or false", ->(value) { [true, false].include?(value) }],
        count: ["a whole number from 0 on", ->(value) { value.is_a?(Integer) && !value.negative? }],
        finite: ["a finite number", ->(value) { number[value] && value.finite? }],
        share: ["a number from 0 to 1",
                ->(value) { (value.is_a?(Float) || value.is_a?(Integer)) && value >= 0 && value <= 1 }],
        time: ["a time in ISO 8601", ->(value) { text[value] && Date._iso8601(value).key?(:sec) }],
        status: ["a status", ->(value) { %w[running interrupted finished damaged untrusted].include?(value) }],
        sha512: ["128 hexadecimal digits", ->(value) { text[value] && value.match?(/\A\h{128}\z/) }],
        task: ["a task", ->(value) { %w[classification multi_label regression].include?(value) }],
        modality: ["a modality", ->(value) { %w[image text table].include?(value) }],
        embeddings: ["a float32 tensor of two dimensions",
                     ->(value) { value.is_a?(Tensor) && value.dtype == "float32" && value.shape.size == 2 }]
      }.freeze
      TEXT = text
      private_constant :KINDS, :TEXT

      @required = {}.compare_by_identity

      class << self
        # @param what [String] names the value in the message
        # @return the value
        # @raise [ProtocolError] if it is not of that shape; says where, and what was expected
        def check(shape, value, what)
          place, found, expected = wrong(shape, value)
          return value unless expected

          raise ProtocolError, "#{what}#{place} is #{Plain.brief(found)}, expected #{expected}"
        end

        private

        # @return [Array(String, Object, String), nil] where in `value` it is not of that shape, what is there, and what
        #   was expected
        def wrong(shape, value)
          case shape
          when :plain then wrong_plain(value)
          when Symbol then wrong_kind(KINDS.fetch(shape), value)
          when Array then wrong_list(shape.first, value)
          else wrong_map(shape, value)
          end
        end

        def wrong_kind((expected, test), value)
          ["", value, expected] unless test.call(value)
        end

        def wrong_plain(value)
          case value
          when Array then wrong_list(:plain, value)
          when Hash then wrong_members(value) { |_, inner| wrong_plain(inner) }
          when String then ["", value, "valid UTF-8"] unless value.valid_encoding?
          end
        end

        def wrong_list(member, value)
          return ["", value, "a list"] unless value.is_a?(Array)
          return if KINDS.key?(member) && value.all?(&KINDS[member].last)

          value.each_with_index { |inner, i| found = wrong(member, inner) and return within("[#{i}]", found) }
          nil
        end

        def wrong_map(shape, value)
          key, inner = shape.first
          case key
          when :each then wrong_each(inner, value)
          when :maybe then wrong(inner, value) unless value.nil?
          when :or_empty then wrong(inner, value) unless value == {}
          when :one_of then wrong_choice(inner, value)
          when :where then wrong(inner.first, value) || wrong_kind(inner.drop(1), value)
          else wrong_record(shape, value)
          end
        end

        def wrong_choice(shapes, value)
          return ["", value, "a map"] unless value.is_a?(Hash)

          fitting = shapes.find { |shape| missing_key(shape, value).nil? }
          return wrong(fitting, value) if fitting

          ["", value, "a map with #{shapes.map { |shape| required(shape).join(', ') }.join('; or with ')}"]
        end

        def wrong_record(shape, value)
          return ["", value, "a map"] unless value.is_a?(Hash)

          missing = missing_key(shape, value)
          return ["", value, "a map with #{missing}"] if missing

          wrong_members(value) { |key, inner| wrong(shape[key] || shape["#{key}?"] || :plain, inner) }
        end

        def wrong_each(member, value)
          fits = value.is_a?(Hash) && KINDS.key?(member) && value.each_value.all?(&KINDS[member].last)
          return if fits && value.each_key.all?(&TEXT)

          wrong_members(value) { |_, inner| wrong(member, inner) }
        end

        def wrong_members(value)
          return ["", value, "a map"] unless value.is_a?(Hash)

          value.each do |key, inner|
            return [".#{Plain.brief(key)}", key, "a key that is text"] unless TEXT.call(key)

            found = yield(key, inner) and return within(".#{key}", found)
          end
          nil
        end

        def missing_key(shape, value) = required(shape).find { |key| !value.key?(key) }

        def required(shape) = @required[shape] ||= (shape[:where]&.first || shape).keys.grep_v(/\?\z/)

        def within(step, (place, value, expected)) = ["#{step}#{place}", value, expected]
      end
    end
  end
end
