# frozen_string_literal: true

module Transfer
  # Events of a running training, passed to blocks: `on(:epoch) { |event| event.metrics[:accuracy] }`.
  module Event
    # The training has its folder, `path`; with `id` it can be resumed. `history` has the epochs before a resumption.
    Run = ::Data.define(:id, :path, :history)
    # A step begins; `step` is one of :choose, :freeze, :head, :train, :fine_tune, :evaluate.
    Stage = ::Data.define(:step, :title)
    # `done` of `total` units are finished.
    Progress = ::Data.define(:step, :done, :total, :unit)
    # One pass over the training data ended; `metrics` has symbol keys.
    Epoch = ::Data.define(:step, :number, :of, :metrics)
    # The whole training: the `share` of it that is done, 0 to 1, which never falls; `seconds_left`, nil while unknown.
    Overall = ::Data.define(:share, :seconds_left)
    # A warning, which does not stop the training.
    Warning = ::Data.define(:message)

    KINDS = { run: Run, stage: Stage, progress: Progress, epoch: Epoch, overall: Overall,
              warning: Warning }.freeze
    private_constant :KINDS

    class << self
      # @param plain [Hash] as it came over the wire
      # @return [Array(Symbol, Data), nil] name and event; nil for an unknown kind, of a newer core
      def parse(plain)
        name = plain["event"].to_s.to_sym
        kind = KINDS[name] or return
        fields = kind.members.to_h { |member| [member, plain[member.to_s]] }
        fields[:step] = fields[:step].to_sym if fields[:step]
        %i[metrics history].each { |word| fields[word] = Plain.symbolize(fields[word]) if fields[word] }
        [name, kind.new(**fields)]
      end

      # @return [Boolean]
      def known?(name) = KINDS.key?(name.to_s.to_sym)

      # @return [String] the message for an unknown name
      def unknown(name) = Suggestion.unknown("event", name, KINDS.keys)
    end
  end
end
