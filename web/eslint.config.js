// SPDX-License-Identifier: Apache-2.0
import hooks from 'eslint-plugin-react-hooks'
import typescript from 'typescript-eslint'

export default typescript.config(
  { ignores: ['dist', 'src/api/types.ts', 'src/api/description.ts'] },
  ...typescript.configs.recommended,
  {
    plugins: { 'react-hooks': hooks },
    rules: {
      ...hooks.configs.recommended.rules,
      eqeqeq: 'error',
      'no-console': 'error',
      'no-eval': 'error',
      'no-restricted-syntax': [
        'error',
        { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: 'Text is shown as text only.' },
        { selector: "AssignmentExpression[left.property.name='innerHTML']", message: 'Text is shown as text only.' },
      ],
    },
  },
  { files: ['scripts/**'], rules: { 'no-console': 'off' } },
)
