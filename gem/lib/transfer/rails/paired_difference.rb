# frozen_string_literal: true

module Transfer
  module Rails
    # Difference of the mean loss of two versions on the same examples, with a 95 % interval; negative values are in
    # favour of the first. For losses of 0 and 1 it is the adjusted Wald interval for matched pairs (Agresti & Min 2005,
    # "Simple improved confidence intervals for comparing matched proportions"), for others the normal interval.
    PairedDifference = ::Data.define(:difference, :low, :high, :count) do
      # @param first [Array<Float>]
      # @param second [Array<Float>] for the same examples
      # @return [PairedDifference]
      def self.of(first, second)
        return new(difference: 0.0, low: -Float::INFINITY, high: Float::INFINITY, count: 0) if first.empty?

        differences = first.zip(second).map { |one, other| one - other }
        padding = (first + second).all? { |loss| [0, 1].include?(loss) } ? [0.5, -0.5, 0.0] : []
        mean, error = mean_and_error(differences, padding)
        new(difference: differences.sum / differences.size, low: mean - (1.96 * error), high: mean + (1.96 * error),
            count: differences.size)
      end

      # Half a pair in favour of either, and one more without a difference, as Agresti and Min add.
      def self.mean_and_error(differences, padding)
        extra = padding.empty? ? 0 : 2
        count = differences.size + extra
        mean = differences.sum / count
        squares = differences.sum { |d| d * d } + (padding.empty? ? 0 : 1.0)
        [mean, Math.sqrt([(squares / count) - (mean * mean), 0].max / count)]
      end
      private_class_method :mean_and_error

      # @return [Boolean] whether the first is worse beyond chance
      def worse? = low.positive?

      # @return [Boolean] whether the first is better beyond chance
      def better? = high.negative?

      def to_s
        points = [difference, low, high].map { |value| format("%+.1f", 100 * value) }
        "error #{points[0]} points (95 % interval #{points[1]} to #{points[2]}) on #{count} held-out examples"
      end
    end
  end
end
