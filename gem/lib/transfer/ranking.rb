# frozen_string_literal: true

require_relative "tabular"
require_relative "value_object"

module Transfer
  # The result of {Transfer.rank}: backbones, the best first.
  #
  # @example
  #   ranking = Transfer.rank(data: "photos/")
  #   ranking.best.backbone                               # => "mobilenet_v2"
  #   ranking.map { |entry| [entry.backbone, entry.expected] }
  class Ranking
    include ValueObject
    include Tabular
    include Enumerable

    # A backbone on the data of the caller.
    class Entry
      include ValueObject

      # @return [String] value of a recipe's `backbone`
      attr_reader :backbone
      # @return [Float] the metric of a cross-validated linear head on the sample
      attr_reader :expected
      # @return [Range] its 95 % bootstrap interval
      attr_reader :interval
      # @return [Float] mean held-out loss of that head; the order of the ranking
      attr_reader :log_loss
      # @return [Hash{Symbol => Float}] transferability scores: `log_me`, `h_score`, `trans_rate`, `n_leep`
      attr_reader :scores
      # @return [Float, nil] of embedding on this machine; nil if all embeddings were cached
      attr_reader :seconds_per_input
      # @return [Integer, nil]
      attr_reader :parameters
      # @return [String] of the weights
      attr_reader :license
      # @return [String] title of the paper; empty: unknown
      attr_reader :paper

      # @param plain [Hash{String => Object}] as the worker sends it
      # @api private
      def initialize(plain)
        @backbone, @expected, @log_loss, @seconds_per_input, @parameters, @license, @paper =
          plain.values_at("backbone", "expected", "log_loss", "seconds_per_input", "parameters", "license", "paper")
        @interval = Range.new(*plain["interval"])
        @scores = Plain.symbolize(plain["scores"]).freeze
        freeze
      end

      # @return [Hash{Symbol => Object}]
      def to_h
        { backbone:, expected:, interval: [interval.begin, interval.end], log_loss:, scores:, seconds_per_input:,
          parameters:, license:, paper: }
      end

      def inspect
        span = "#{format('%.3f', interval.begin)}..#{format('%.3f', interval.end)}"
        "#<#{self.class} #{backbone}: #{format('%.3f', expected)} (#{span})>"
      end
    end

    # @return [Symbol] :image, :text or :table
    attr_reader :modality
    # @return [Symbol] the task that was recognized or given
    attr_reader :task
    # @return [Symbol] the expected metric: :accuracy, :micro_f1 or :r2
    attr_reader :metric
    # @return [Integer] examples that were used
    attr_reader :sampled
    # @return [Integer] all training examples
    attr_reader :examples
    # @return [Array<Entry>]
    attr_reader :backbones
    # @return [Hash{String => String}] backbones that could not be ranked, with the reason
    attr_reader :left_out

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @modality, @task, @metric = plain.values_at("modality", "task", "metric").map(&:to_sym)
      @sampled, @examples = plain.values_at("sampled", "examples")
      @backbones = plain["backbones"].map { |entry| Entry.new(entry) }.freeze
      @left_out = plain["left_out"].freeze
      freeze
    end

    # @yieldparam entry [Entry]
    def each(&) = backbones.each(&)

    # @return [Entry] the first
    def best = backbones.first

    # @return [Hash{Symbol => Object}]
    def to_h = { modality:, task:, metric:, sampled:, examples:, backbones: backbones.map(&:to_h), left_out: }

    def inspect = "#<#{self.class} of #{backbones.size} backbones, best: #{best&.backbone}>"
  end

  # A running ranking.
  class BackboneRanking < Job
    # @param recipe [Recipe]
    # @param options [Hash{String => Object}] `among`, `modality`, `budget`
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, options, quiet: nil) = super(recipe, Request.new("rank", recipe, options:), quiet:)

    private

    def made_of(plain) = Ranking.new(plain)
  end
  private_constant :BackboneRanking
end
