# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # The result of {Transfer.check}.
  class DataReport
    include ValueObject

    # @return [Symbol] :image, :text or :table
    attr_reader :modality
    # @return [Symbol, nil] :classification, :multi_label or :regression; nil where the data can't be read
    attr_reader :task
    # @return [Array<String>] reasons why a training would stop, among them each bad input
    attr_reader :problems
    # @return [Array<String>] reasons to distrust the metrics of a training
    attr_reader :warnings
    # @return [Hash{String => Integer}] the number of usable inputs by label; empty of a regression
    attr_reader :labels
    # @return [Hash{Symbol => Integer}] the sizes of the parts `train`, `valid` and `test`
    attr_reader :sizes

    # @param plain [Hash{String => Object}] as the worker sends it
    def initialize(plain)
      @modality = plain["modality"].to_sym
      @task = plain["task"]&.to_sym
      @problems, @warnings, @labels = plain.values_at("problems", "warnings", "labels").each(&:freeze)
      @sizes = plain["sizes"].transform_keys(&:to_sym).freeze
      freeze
    end

    # @return [Boolean] whether a training would accept the data
    def ok? = problems.empty?

    # @return [Hash{Symbol => Object}]
    def to_h = { ok: ok?, modality:, task:, problems:, warnings:, labels:, sizes: }

    def inspect
      found = ok? ? "ok" : "#{problems.size} problems"
      "#<#{self.class} #{[found, *("#{warnings.size} warnings" if warnings.any?)].join(', ')}>"
    end
  end

  # A running check of data.
  class DataCheck < Job
    # @param recipe [Recipe]
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, quiet: nil) = super(recipe, Request.new("check", recipe), quiet:)

    private

    def made_of(plain) = DataReport.new(plain)
  end
  private_constant :DataCheck
end
