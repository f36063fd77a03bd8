# frozen_string_literal: true

# On this machine, and as on a processor with AVX2 alone, where bfloat16 has no fast operators.
RSpec.describe "Precisions", :end_to_end do
  before(:context) { @photos = photo_folder(File.join(@scratch, "photos"), count: 6) }

  def limited(variables)
    before = ENV.to_h
    Transfer.shutdown
    ENV.update(variables)
    yield
  ensure
    ENV.replace(before)
    Transfer.shutdown
  end

  def slow(lines) = lines.grep(/bfloat16 .* several times slower than float32\. Fix: precision auto or float32/)

  { "this machine" => {}, "AVX2 alone" => { "ONEDNN_MAX_CPU_ISA" => "AVX2", "ATEN_CPU_CAPABILITY" => "avx2" } }
    .each do |machine, variables|
    it "train and predict from Ruby, on #{machine}" do
      limited(variables) do
        %i[auto float32 bfloat16].each do |precision|
          warnings = []
          on = { warning: ->(event) { warnings << event.message } }
          model = Transfer.train(backbone: "mobilenet_v2", data: @photos, precision:, on:, quiet: true)
          expect(model.predict("#{@photos}/red/0.png").label).to eq("red")
          expect(slow(warnings).size).to eq(precision == :bfloat16 ? 1 : 0) if variables.any?
        end
      end
    end

    it "train from the shell, on #{machine}" do
      %w[auto float32 bfloat16].each do |precision|
        env = { TRANSFER_QUIET: nil, TRANSFER_HOME: Transfer.config.home, **variables.transform_keys(&:to_sym) }
        _, err, status = executable("train", @photos, "--precision", precision, **env)
        expect(status).to eq(0), err
        expect(slow(err.lines).size).to eq(precision == "bfloat16" ? 1 : 0) if variables.any?
      end
    end
  end
end
