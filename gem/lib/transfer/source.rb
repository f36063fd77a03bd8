# frozen_string_literal: true

require_relative "source/hint"
require_relative "source/rows"
require_relative "source/row_stream"

module Transfer
  # The data of a training. Paths are sent as text; anything that can be iterated is sent as the name of a stream, whose
  # rows the worker requests.
  class Source
    SPLITS = %w[train valid test].freeze
    SOURCES = "expected a path, rows that can be iterated, or one of them each for train, valid and test"
    private_constant :SPLITS, :SOURCES

    @last_id = 0
    @mutex = Mutex.new

    class << self
      # @return [Object] the data as a recipe contains it
      def outline(data) = describe(data, ->(_) { "rows" }, ->(text) { text })

      # @return [Boolean] whether some of the data is an Enumerable of rows
      def rows?(data)
        found = false
        describe(data, ->(_) { found = true }, ->(text) { text })
        found
      end

      # Stream ids are unique in this process: several calls share one worker.
      def next_id = @mutex.synchronize { "s#{@last_id += 1}" }

      # Paths as text, splits key by key; each thing that can be iterated goes through `name_stream`.
      def describe(data, name_stream, write_path)
        case data
        when String, Symbol, Pathname then write_path.call(data.to_s)
        when Hash
          data.to_h do |key, inner|
            [key.to_s, SPLITS.include?(key.to_s) ? describe(inner, name_stream, write_path) : outline(inner)]
          end
        when nil, true, false, Numeric then Plain.scalar(data)
        else
          raise ArgumentError, "#{SOURCES}, got #{data.class}" unless stream?(data)

          { "stream" => name_stream.call(data) }
        end
      end

      private

      def stream?(data) = data.respond_to?(:find_each) || data.respond_to?(:each)
    end

    # @return [Object] the data as it is sent to the worker
    attr_reader :wire
    # @return [Hash{String => RowStream}] the remaining rows of each stream
    attr_reader :streams

    # @param columns [Hash, nil] names of a row's fields where they are not input, label and split
    # @param group [Array(String, Proc), Array(String, nil), nil] the name of the rows' groups, and the block that
    #   returns a row's group if it is no field
    # @param labelled [Boolean] whether each row must have a label
    def initialize(data, columns: nil, group: nil, labelled: true)
      @streams = {}
      open = lambda do |rows|
        self.class.next_id.tap { |id| @streams[id] = RowStream.new(Rows.new(rows, columns, group, labelled)) }
      end
      @wire = self.class.describe(data, open, Input.method(:path))
    end
  end
  private_constant :Source
end
