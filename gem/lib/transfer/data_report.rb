# frozen_string_literal: true

module Transfer
  # The result of {Transfer.check}.
  class DataReport
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

    # @return [Hash{String => Object}] {#to_h} with text as keys, as Rails wants it
    def as_json(*) = to_h.transform_keys(&:to_s)

    # @return [String]
    def to_json(*)
      require "json"
      as_json.to_json(*)
    end

    def inspect
      found = ok? ? "ok" : "#{problems.size} problems"
      "#<Transfer::DataReport #{[found, *("#{warnings.size} warnings" if warnings.any?)].join(', ')}>"
    end
  end

  # A running check of data.
  class DataCheck < Job
    METHOD = "check"
    private_constant :METHOD

    private

    def made_of(plain) = DataReport.new(plain)
  end
  private_constant :DataCheck
end
