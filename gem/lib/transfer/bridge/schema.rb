# frozen_string_literal: true

require "date"

module Transfer
  module Bridge
    # Validates a value against a schema, which is one of:
    #
    # - a Symbol: a kind of value, see `KINDS`; `:plain` is plain data
    # - `[schema]`: a list
    # - a Hash with texts as keys: a map with these keys; `"key?"` is optional, additional keys hold plain data
    # - `{ each: schema }`: a map with any keys
    # - `{ maybe: schema }`: nil, or a value of that schema
    # - `{ or_empty: schema }`: an empty map, or a value of that schema
    # - `{ one_of: schemas }`: a map, validated by the first schema whose keys it has
    # - `{ where: [schema, description, condition] }`: a value for which the condition holds, too
    module Schema
      number = ->(value) { value.is_a?(Float) || value.is_a?(Integer) }
      text = ->(value) { value.is_a?(String) && value.encoding == Encoding::UTF_8 && value.valid_encoding? }
      TASKS = %w[classification multi_label regression detection translation text_to_text].freeze
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
        task: ["a task", ->(value) { TASKS.include?(value) }],
        modality: ["a modality", ->(value) { %w[image text table].include?(value) }],
        embeddings: ["a float32 tensor of two dimensions",
                     ->(value) { value.is_a?(Tensor) && value.dtype == "float32" && value.shape.size == 2 }]
      }.freeze
      TEXT = text
      private_constant :KINDS, :TASKS, :TEXT

      @required = {}.compare_by_identity

      class << self
        # @param name [String] of the value in the error message
        # @return the value
        # @raise [ProtocolError] with the path to the first mismatch and what was expected there
        def check(schema, value, name)
          path, found, expected = mismatch(schema, value)
          return value unless expected

          raise ProtocolError, "#{name}#{path} is #{Plain.brief(found)}, expected #{expected}"
        end

        private

        # @return [Array(String, Object, String), nil] path of the first mismatch in `value`, the value there, and what
        #   was expected
        def mismatch(schema, value)
          case schema
          when :plain then plain_mismatch(value)
          when Symbol then kind_mismatch(KINDS.fetch(schema), value)
          when Array then list_mismatch(schema.first, value)
          else map_mismatch(schema, value)
          end
        end

        def kind_mismatch((expected, test), value)
          ["", value, expected] unless test.call(value)
        end

        def plain_mismatch(value)
          case value
          when Array then list_mismatch(:plain, value)
          when Hash then member_mismatch(value) { |_, inner| plain_mismatch(inner) }
          when String then ["", value, "valid UTF-8"] unless value.valid_encoding?
          end
        end

        def list_mismatch(member, value)
          return ["", value, "a list"] unless value.is_a?(Array)
          return if KINDS.key?(member) && value.all?(&KINDS[member].last)

          value.each_with_index { |inner, i| found = mismatch(member, inner) and return within("[#{i}]", found) }
          nil
        end

        def map_mismatch(schema, value)
          key, inner = schema.first
          case key
          when :each then each_mismatch(inner, value)
          when :maybe then mismatch(inner, value) unless value.nil?
          when :or_empty then mismatch(inner, value) unless value == {}
          when :one_of then choice_mismatch(inner, value)
          when :where then mismatch(inner.first, value) || kind_mismatch(inner.drop(1), value)
          else record_mismatch(schema, value)
          end
        end

        def choice_mismatch(schemas, value)
          return ["", value, "a map"] unless value.is_a?(Hash)

          matching = schemas.find { |schema| missing_key(schema, value).nil? }
          return mismatch(matching, value) if matching

          ["", value, "a map with #{schemas.map { |schema| required(schema).join(', ') }.join('; or with ')}"]
        end

        def record_mismatch(schema, value)
          return ["", value, "a map"] unless value.is_a?(Hash)

          missing = missing_key(schema, value)
          return ["", value, "a map with #{missing}"] if missing

          member_mismatch(value) { |key, inner| mismatch(schema[key] || schema["#{key}?"] || :plain, inner) }
        end

        def each_mismatch(member, value)
          valid = value.is_a?(Hash) && KINDS.key?(member) && value.each_value.all?(&KINDS[member].last)
          return if valid && value.each_key.all?(&TEXT)

          member_mismatch(value) { |_, inner| mismatch(member, inner) }
        end

        def member_mismatch(value)
          return ["", value, "a map"] unless value.is_a?(Hash)

          value.each do |key, inner|
            return [".#{Plain.brief(key)}", key, "a key that is text"] unless TEXT.call(key)

            found = yield(key, inner) and return within(".#{key}", found)
          end
          nil
        end

        def missing_key(schema, value) = required(schema).find { |key| !value.key?(key) }

        def required(schema) = @required[schema] ||= (schema[:where]&.first || schema).keys.grep_v(/\?\z/)

        def within(step, (path, value, expected)) = ["#{step}#{path}", value, expected]
      end
    end
  end
end
