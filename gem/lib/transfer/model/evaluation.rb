# frozen_string_literal: true

require_relative "../metrics"

module Transfer
  class Model
    # Metrics on labelled data, and reports.
    module Evaluation
      include Tabular

      # @param data a source with labels, as in a recipe: a path, or rows `{input:, label:}` or `{input:, boxes:}`
      # @param columns [Hash, nil] names of a manifest's columns
      # @param on_bad_input [Symbol] :raise or :skip
      # @return [Metrics] a Hash{Symbol => Object}
      # @raise [DataError]
      def evaluate(data, columns: nil, on_bad_input: :raise)
        on_bad_input = raise_or_skip(on_bad_input)
        columns = wire_columns(columns)
        source = Source.new(data, columns:)
        params = { "data" => source.wire, "columns" => columns, "on_bad_input" => on_bad_input.to_s }.compact
        Metrics[Plain.symbolize(call("evaluate", params, streams: source.streams, timeout: nil))].freeze
      end

      # Writes a report: a summary, metrics beside the baseline with intervals, classes, confusions, calibration,
      # groups, loss curves, data, recipe, warnings and versions.
      # @param file [String, Pathname] `….html`: one accessible page without scripts and requests; `….md`: a model card
      #   with the metadata of the Hugging Face Hub
      # @param data labelled data as for {#evaluate}: the metrics are then of this data, and the page shows the worst
      #   mistakes and a reliability diagram or the errors. nil: the metrics of the training
      # @param columns [Hash, nil] names of a manifest's columns
      # @param on_bad_input [Symbol] :raise or :skip
      # @return [Pathname] the file
      # @raise [ConfigurationError] if the file can't be written, or its name ends otherwise
      # @raise [DataError] if the data can't be used
      # @example
      #   model.report("report.html", data: "new_photos/")
      def report(file, data: nil, columns: nil, on_bad_input: :raise)
        on_bad_input = raise_or_skip(on_bad_input)
        columns = wire_columns(columns)
        source = data && Source.new(data, columns:)
        params = { "path" => Input.path(file.to_s), "data" => source&.wire, "columns" => columns,
                   "on_bad_input" => on_bad_input.to_s, "mode" => 0o666 & ~Permissions.umask }.compact
        Pathname.new(call("report", params, streams: source&.streams || {}, timeout: nil).fetch("path"))
      end

      # @return [String] a fragment of HTML: a table of the file, the task and the metrics, with all texts escaped
      def to_html
        measured = metrics.select { |_, value| value.is_a?(Numeric) }
        Tabular.html({ file: path.basename, backbone:, task:, labels:, metrics: measured, warnings: })
      end
    end
  end
end
