# frozen_string_literal: true

RSpec.describe Transfer do
  it "has one door" do
    verbs = %i[train train_async resume resume_async load backbones backbone config configure shutdown native?]
    expect(described_class.singleton_methods(false)).to include(*verbs)
    public_names = described_class.constants.select { |name| described_class.const_get(name).is_a?(Module) }
    expect(public_names)
      .not_to include(:Bridge, :Source, :Input, :Display, :Plain, :Backtrace, :Suggestion, :TensorBlock,
                      :Numbers, :Native)
  end

  it "starts and loads nothing that only a call needs" do
    output, status = Open3.capture2e(RbConfig.ruby, "-w", "-I", Scripts::LIB, stdin_data: <<~RUBY)
      require "transfer"
      p [Thread.list.size, Dir["/proc/self/task/*/children"].map { |file| File.read(file) }.join]
      p $LOADED_FEATURES.grep(/msgpack|socket|progressbar|open3|thor/).map { |file| File.basename(file) }
    RUBY
    state, features = output.lines(chomp: true)
    expect(status).to be_success
    expect([state, features]).to eq(['[1, ""]', "[]"])
  end

  it "has one error class above all others" do
    errors = described_class.constants.map { |name| described_class.const_get(name) }
                            .select { |constant| constant.is_a?(Class) && constant <= Exception }
    expect(errors.size).to be >= 15
    expect(errors).to all(be <= Transfer::Error)
    expect(Transfer::Error.superclass).to eq(StandardError)
  end
end
