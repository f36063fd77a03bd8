# frozen_string_literal: true

require "json"

module Transfer
  module Onnx
    # The metadata of an exported file. A field that is used is checked; others are passed on.
    class Description
      # Raised for metadata that can't be used, with the reason.
      class Invalid < StandardError; end

      FORMAT_VERSION = 1
      TASKS = %w[classification multi_label regression detection translation text_to_text].freeze
      # Tasks whose models generate texts; they have no labels.
      GENERATION = %w[translation text_to_text].freeze
      MODALITIES = %w[image text table].freeze
      # The same as of a model file: characters, labels, and numbers that are kept.
      LONGEST = 50_000_000
      MOST_LABELS = 1_000_000
      MOST_SCORES = 1_000_000
      LARGEST_SIDE = 65_535
      private_constant :FORMAT_VERSION, :TASKS, :GENERATION, :MODALITIES, :LONGEST, :MOST_LABELS, :MOST_SCORES,
                       :LARGEST_SIDE

      # @return [String]
      attr_reader :task, :modality
      # @return [Array<String>]
      attr_reader :labels
      # @return [Array<Array<Float>>] sorted nonconformity scores, per output; empty without calibration
      attr_reader :scores
      # @return [Integer]
      attr_reader :embedding_width

      # @param text [String] JSON
      # @raise [Invalid]
      def initialize(text)
        if text.bytesize > LONGEST
          raise Invalid,
                "its metadata have #{text.bytesize} bytes, expected at most #{LONGEST}"
        end

        @fields = parse(text)
        check_version
        @task = one_of("task", TASKS)
        @modality = one_of("modality", MODALITIES)
        @labels = field("labels", Array) do |labels|
          labels.size.between?(generates? ? 0 : 1, MOST_LABELS) && names?(labels)
        end
        @embedding_width = field("embedding_width", Integer, &:positive?)
        @scores = read_scores
      end

      # @return [Boolean] whether the model generates texts
      def generates? = GENERATION.include?(task)

      # @return [Array(Integer, Integer)] pixels that the shorter, and the longer side of a JPEG must keep; nil: all
      def decode_limits
        preprocessing = field("preprocessing", Hash)
        %w[decode_at_least decode_longer_at_least].map do |name|
          side = preprocessing[name]
          next side if side.nil? || (side.is_a?(Integer) && side.between?(1, LARGEST_SIDE))

          raise Invalid, "its field preprocessing.#{name} is #{Plain.brief(side)}"
        end
      end

      # @return [Hash{String => Object}] how texts are read
      def text = field("text", Hash)

      # @return [Array<Hash{String => String}>] `name` and `type` of a table's columns
      def columns
        field("columns", Array) do |columns|
          columns.any? && columns.all? do |column|
            column.is_a?(Hash) && column["name"].is_a?(String) && %w[number category].include?(column["type"])
          end
        end
      end

      # @return [Hash{String => Object}] the fields of a model summary (docs/reference/protocol.md)
      def summary
        names = @fields["columns"].is_a?(Array) ? columns.map { |column| column["name"] } : []
        { "task" => task, "labels" => labels, "modality" => modality, "embedding_width" => embedding_width,
          "columns" => names, "backbone" => field("backbone", Hash)["name"].to_s, "history" => [], "sizes" => {},
          "data" => {}, "precision" => @fields["precision"].to_s, "created_at" => @fields["created_at"].to_s,
          **%w[metrics recipe versions].to_h { |name| [name, field(name, Hash)] }, "warnings" => warnings }
      end

      # @return [String] sha256 of the exported model's content
      def model_digest = @fields["model_digest"].to_s

      # Raises {Invalid} for a wrong field.
      # @param value [Object]
      # @param name [String] of the field
      # @param kinds [Array<Class>]
      # @yieldparam value [Object]
      # @yieldreturn [Boolean] whether it is valid
      # @return the value
      def self.check(value, name, *kinds)
        return value if kinds.any? { |kind| value.is_a?(kind) } && (!block_given? || yield(value))

        raise Invalid, "its field #{name} is #{Plain.brief(value)}"
      end

      private

      def parse(text)
        raise Invalid, "its metadata are damaged" unless text.valid_encoding?

        fields = JSON.parse(text, max_nesting: 100)
        fields.is_a?(Hash) ? fields : raise(Invalid, "its metadata are no JSON object")
      rescue JSON::ParserError, EncodingError
        raise Invalid, "its metadata are damaged"
      end

      def check_version
        version = field("format_version", Integer, &:positive?)
        return if version <= FORMAT_VERSION

        raise Invalid, "it was exported by a newer version (format #{version}); this version reads up to " \
                       "#{FORMAT_VERSION}: upgrade transfer-rb"
      end

      def one_of(name, known)
        value = field(name, String)
        return value if known.include?(value)

        raise Invalid, "its #{name} is #{Plain.brief(value)}, unknown to this version (#{known.join(', ')}): " \
                       "upgrade transfer-rb"
      end

      def field(name, *kinds, &) = Description.check(@fields[name], name, *kinds, &)

      def names?(labels)
        labels.all? { |label| label.is_a?(String) && !label.empty? } && labels.uniq.size == labels.size
      end

      def warnings = field("warnings", Array) { |texts| texts.all?(String) }

      def read_scores
        state = Description.check(field("state", Hash), "state.nonconformity", Hash) do |fields|
          [NilClass, Array].include?(fields["nonconformity"].class)
        end
        lists = state["nonconformity"] || []
        lists = [lists] if %w[classification detection].include?(task) && lists != []
        expected = task == "regression" ? labels.size : 1
        return lists if [0, expected].include?(lists.size) && lists.all? { |list| sorted?(list) }

        raise Invalid, "its field state.nonconformity is damaged"
      end

      def sorted?(list)
        list.is_a?(Array) && list.size <= MOST_SCORES && list.all? { |score| score.is_a?(Numeric) && score >= 0 } &&
          list.each_cons(2).all? { |before, after| before <= after }
      end
    end
    private_constant :Description
  end
end
