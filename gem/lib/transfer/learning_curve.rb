# frozen_string_literal: true

require_relative "tabular"
require_relative "value_object"

module Transfer
  # The result of {Transfer.learning_curve}: the metric by number of training examples, measured and extrapolated.
  #
  # @example
  #   curve = Transfer.learning_curve(data: "photos/", backbone: "mobilenet_v2")
  #   puts curve                       # a plot, and what more examples of a label are worth
  #   curve.forecast.last.value        # => 0.86
  class LearningCurve
    include ValueObject
    include Tabular

    # The metric with this number of training examples, and its 95 % interval.
    Point = Data.define(:examples, :value, :low, :high)
    # A label: its training examples, its recall on the test examples, and the expected gain in recall from `more`
    # further examples of it.
    LabelForecast = Data.define(:label, :examples, :recall, :more, :gain)

    # Columns of the plot; labels that are printed, and the smallest gain of one.
    WIDTH = 40
    LABELS = 5
    LEAST_GAIN = 0.005
    NOUNS = { image: "photos", text: "texts", table: "rows" }.freeze
    private_constant :WIDTH, :LABELS, :LEAST_GAIN, :NOUNS

    # @return [Symbol] :image, :text or :table
    attr_reader :modality
    # @return [Symbol] :accuracy, :micro_f1 or :r2, on the test examples
    attr_reader :metric
    # @return [Array<Point>] on parts of the data
    attr_reader :measured
    # @return [Array<Point>] beyond the data, by a power law
    attr_reader :forecast
    # @return [Array<LabelForecast>] the largest gain first; empty for a regression
    attr_reader :labels

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @modality, @metric = plain.values_at("modality", "metric").map(&:to_sym)
      @measured, @forecast = plain.values_at("measured", "forecast").map { |points| values(Point, points) }
      @labels = values(LabelForecast, plain["labels"])
      freeze
    end

    # @return [Hash{Symbol => Object}]
    def to_h
      { modality:, metric:, measured: measured.map(&:to_h), forecast: forecast.map(&:to_h), labels: labels.map(&:to_h) }
    end

    # @return [String] a plot for the terminal, and the labels of which more examples are worth most
    def to_s = [*plot, *advice].join("\n")

    def inspect
      format("#<%<name>s %<metric>s %<now>.3f with %<examples>d examples>", name: self.class, metric:,
                                                                            now: measured.last.value,
                                                                            examples: measured.last.examples)
    end

    private

    def values(type, list) = list.map { |one| type.new(**one.transform_keys(&:to_sym)) }.freeze

    def plot
      points = [*measured, *forecast]
      range = Range.new(*points.flat_map { |point| [point.low, point.value, point.high] }.minmax)
      width = points.map { |point| point.examples.to_s.length }.max.clamp(8..)
      head = "#{'examples'.rjust(width)}  #{metric}, with its 95 % interval (● measured, ○ forecast)"
      [head, *points.map { |point| line(point, range, width, measured.include?(point) ? "●" : "○") }]
    end

    def line(point, range, width, mark)
      low, value, high = point.to_h.values_at(:low, :value, :high).map { |number| column(number, range) }
      cells = Array.new(WIDTH) { |place| place.between?(low, high) ? "─" : " " }
      cells[value] = mark
      format("%<examples>#{width}d  %<value>.3f  %<cells>s", examples: point.examples, value: point.value,
                                                             cells: cells.join).rstrip
    end

    def column(number, range)
      span = range.end - range.begin
      span.positive? ? ((number - range.begin) / span * (WIDTH - 1)).round : 0
    end

    def advice
      gains = labels.select { |one| one.gain >= LEAST_GAIN }.first(LABELS)
      gains.map do |one|
        points = format("%+.1f", one.gain * 100)
        "#{one.more} more #{NOUNS.fetch(modality)} of #{one.label} are worth #{points} points of its recall " \
          "(#{format('%.2f', one.recall)} with #{one.examples})"
      end
    end
  end

  # A running measurement of a learning curve.
  class LearningCurveMeasurement < Job
    # @param recipe [Recipe]
    # @param more [Integer] further examples of a label
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, more, quiet: nil)
      super(recipe, Request.new("learning_curve", recipe, options: { "more" => more }), quiet:)
    end

    private

    def made_of(plain) = LearningCurve.new(plain)
  end
  private_constant :LearningCurveMeasurement
end
