# frozen_string_literal: true

module Transfer
  class Source
    # Messages for rows that lack an input or a label, with the `columns:` to write.
    module Hint
      INPUTS = %w[image photo picture img file path filename text body content message sentence review].freeze
      TARGETS = %w[label target kind class klass category species type tag answer rating y].freeze
      # Columns that Rails adds, which are neither input nor target.
      NEITHER = %w[id created_at updated_at split].freeze
      private_constant :INPUTS, :TARGETS, :NEITHER

      class << self
        # @param item [Object] the row as the user gave it
        # @return [String] the columns that the row has, and the `columns:` that fits
        def for(item)
          return "it is a value without a label. Fix: #{PAIRS}" if item.is_a?(String) || item.is_a?(Pathname)

          names = names(item)
          return "#{Plain.brief(item)}. Fix: #{PAIRS}" if names.empty?

          "its columns are #{names.join(', ')}. Fix: #{columns(item, names)}"
        end

        private

        PAIRS = "give pairs [\"a.jpg\", \"cat\"], rows { input: \"a.jpg\", label: \"cat\" }, or a folder per label"
        private_constant :PAIRS

        def names(item)
          own = item.respond_to?(:attribute_names) ? item.attribute_names : Input.named(item)&.keys
          (Input::Attached.names_in(item) + own.to_a.map(&:to_s)).uniq
        end

        def columns(item, names)
          usable = names - NEITHER
          input = Input::Attached.name_in(item) || (usable & INPUTS).first || (usable - TARGETS).first
          target = ((usable & TARGETS) - [input]).first || (usable - [input]).last
          return PAIRS unless input && target

          "columns: { input: #{input.inspect}, target: #{target.inspect} }"
        end
      end
    end
    private_constant :Hint
  end
end
