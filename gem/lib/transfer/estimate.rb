# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # The result of {Transfer.estimate}: what a training is expected to take on this machine.
  #
  # @example
  #   estimate = Transfer.estimate(backbone: "mobilenet_v2", data: "photos/")
  #   estimate.seconds     # => 14.2
  #   estimate.warnings    # => []
  class Estimate
    include ValueObject

    # A step: its seconds, the peak memory of the process in bytes, and the bytes on disk that it adds.
    StepEstimate = Data.define(:step, :seconds, :memory, :disk)

    # @return [String]
    attr_reader :backbone
    # @return [Symbol] the task that was recognized or given
    attr_reader :task
    # @return [Integer] all examples
    attr_reader :examples
    # @return [Array<StepEstimate>] choose, freeze, head, train, fine_tune and evaluate
    attr_reader :steps
    # @return [Float] of all steps and epochs; early stopping may shorten a training
    attr_reader :seconds
    # @return [Integer] peak memory of the process, in bytes
    attr_reader :memory
    # @return [Integer] bytes on disk, some of them only meanwhile
    attr_reader :disk
    # @return [Integer] bytes of memory that this machine has available
    attr_reader :available_memory
    # @return [Integer] free bytes on disk
    attr_reader :free_disk
    # @return [Array<String>] if memory or disk space do not suffice
    attr_reader :warnings

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @task = plain["task"].to_sym
      @backbone, @warnings = plain.values_at("backbone", "warnings")
      @examples, @seconds, @memory, @disk = plain.values_at("examples", "seconds", "memory", "disk")
      @available_memory, @free_disk = plain.values_at("available_memory", "free_disk")
      @steps = plain["steps"].map do |one|
        StepEstimate.new(**one.transform_keys(&:to_sym), step: one["step"].to_sym)
      end.freeze
      freeze
    end

    # @return [Hash{Symbol => Object}]
    def to_h
      { backbone:, task:, examples:, steps: steps.map(&:to_h), seconds:, memory:, disk:, available_memory:, free_disk:,
        warnings: }
    end

    # @return [String] a line per step
    def to_s
      [*steps.map { |one| line(one.step, one.seconds, one.memory, one.disk) }, line(:total, seconds, memory, disk),
       *warnings].join("\n")
    end

    def inspect = format("#<%<name>s %<backbone>s: %<seconds>.0f s>", name: self.class, backbone:, seconds:)

    private

    def line(step, seconds, memory, disk)
      format("%-9<step>s %8.1<seconds>f s  %6.2<memory>f GB memory  %6.2<disk>f GB disk",
             step:, seconds:, memory: memory / 1e9, disk: disk / 1e9)
    end
  end

  # A running estimate of a training.
  class TrainingEstimate < Job
    # @param recipe [Recipe]
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, quiet: nil) = super(recipe, Request.new("estimate", recipe), quiet:)

    private

    def made_of(plain) = Estimate.new(plain)
  end
  private_constant :TrainingEstimate
end
